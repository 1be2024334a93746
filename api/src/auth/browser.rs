//! Browsers: their cookie, and what a request with it has to say of where it comes from.
//!
//! The cookie is sent by the browser alone, so a page of somebody else's could have it sent. `SameSite=Strict` keeps
//! other sites from that; apps on other ports of the same host are the same site, and for them there is
//! `Sec-Fetch-Site`, which no script can set.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::SignedDuration;

/// Where a request comes from, as the browser says.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A cookie of the platform's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Says who is signed in.
    Session,
    /// What signing in began with, until it is done.
    SigningIn,
}

impl Cookie {
    /// The name; with TLS, browsers let nobody else set it (RFC 6265bis section 4.1.3).
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-mgx",
            (Self::Session, false) => "mgx",
            (Self::SigningIn, true) => "__Secure-mgx_signing_in",
            (Self::SigningIn, false) => "mgx_signing_in",
        }
    }

    /// `Set-Cookie`. One comes back from the provider's pages, perhaps at the end of a way that began elsewhere: `Lax`.
    pub(crate) fn set(self, value: &str, life: SignedDuration, secure: bool) -> HeaderValue {
        let (path, site) = match self {
            Self::Session => ("/", "Strict"),
            Self::SigningIn => ("/auth", "Lax"),
        };
        let (name, life, flag) = (self.name(secure), life.as_secs(), if secure { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path={path}; Max-Age={life}; HttpOnly; SameSite={site}{flag}");
        HeaderValue::from_str(&text).expect("our own values are plain")
    }

    /// `Set-Cookie` that takes it away.
    pub(crate) fn clear(self, secure: bool) -> HeaderValue {
        self.set("", SignedDuration::ZERO, secure)
    }

    /// Its value, if there is one only: of two, somebody else has set one.
    pub(crate) fn get(self, headers: &HeaderMap, secure: bool) -> Option<&str> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.name(secure)).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() && value.len() <= 1024 => Some(value),
            _ => None,
        }
    }
}

/// Whether a request with a cookie comes from a page of `origin`, as far as the browser says. One that changes
/// something has to say so.
pub(crate) fn is_from_us(method: &Method, headers: &HeaderMap, origin: &str) -> bool {
    let site = one(headers, &SEC_FETCH_SITE);
    let from = one(headers, &header::ORIGIN);
    let site_fits = match site {
        Said::Nothing => true,
        // typed by hand, or followed from outside of any page
        Said::Once("none") => method.is_safe(),
        Said::Once(site) => site == "same-origin",
        Said::Nonsense => false,
    };
    let origin_fits = match from {
        Said::Nothing => true,
        Said::Once(from) => from == origin,
        Said::Nonsense => false,
    };
    let says = matches!(site, Said::Once(_)) || matches!(from, Said::Once(_));
    site_fits && origin_fits && (says || method.is_safe())
}

/// What a header says that comes once.
#[derive(Clone, Copy)]
enum Said<'a> {
    Nothing,
    Once(&'a str),
    Nonsense,
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Said<'a> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Said::Nothing,
        (Some(value), None) => value.to_str().map_or(Said::Nonsense, Said::Once),
        (Some(_), Some(_)) => Said::Nonsense,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://mgx.example";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_a_page_of_ours_may_change_something() {
        let from_us = |method: Method, pairs: &[(&'static str, &'static str)]| {
            is_from_us(&method, &headers(pairs), HERE)
        };
        let site = "sec-fetch-site";
        assert!(from_us(Method::POST, &[(site, "same-origin"), ("origin", HERE)]));
        assert!(from_us(Method::POST, &[(site, "same-origin")]));
        assert!(from_us(Method::POST, &[("origin", HERE)]), "a browser of before 2023");
        for wrong in [
            &[][..],
            &[(site, "none")],
            &[(site, "same-site"), ("origin", HERE)],
            &[(site, "cross-site")],
            &[(site, "same-origin"), ("origin", "https://mgx.example:8443")],
            &[(site, "same-origin"), ("origin", "null")],
            &[("origin", "http://mgx.example")],
            &[("origin", HERE), ("origin", HERE)],
            &[(site, "same-origin"), (site, "same-origin")],
        ] {
            assert!(!from_us(Method::POST, wrong), "{wrong:?}");
            assert!(!from_us(Method::DELETE, wrong), "{wrong:?}");
        }
    }

    #[test]
    fn who_only_looks_need_not_say_but_may_not_come_from_elsewhere() {
        let from_us =
            |pairs: &[(&'static str, &'static str)]| is_from_us(&Method::GET, &headers(pairs), HERE);
        // an EventSource of our own says the first
        for right in [&[("sec-fetch-site", "same-origin")][..], &[("sec-fetch-site", "none")], &[]] {
            assert!(from_us(right), "{right:?}");
        }
        for wrong in [
            &[("sec-fetch-site", "same-site")][..],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://127.0.0.1:3000")],
        ] {
            assert!(!from_us(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name_and_only_if_it_is_alone() {
        let get = |line: &'static str, secure| {
            Cookie::Session.get(&headers(&[("cookie", line)]), secure).map(str::to_owned)
        };
        assert_eq!(get("a=b; mgx=c", false).as_deref(), Some("c"));
        assert_eq!(get("__Host-mgx=c; mgx=d", true).as_deref(), Some("c"));
        for none in ["mgx=", "xmgx=c", "mgx=a; mgx=b", "mgx_signing_in=c"] {
            assert_eq!(get(none, false), None, "{none}");
        }
        let set = Cookie::Session.set("v", SignedDuration::from_secs(5), true);
        assert_eq!(set, "__Host-mgx=v; Path=/; Max-Age=5; HttpOnly; SameSite=Strict; Secure");
    }
}
