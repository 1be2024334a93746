//! The cookies of the platform's pages, and the check that a request with a cookie comes from one of these pages.
//!
//! A browser attaches the cookie by itself, so a page of another site could make the browser send it (CSRF).
//! `SameSite=Strict` prevents that for other sites. Apps on other ports of the same host count as the same site: against
//! them there is `Sec-Fetch-Site`, which no script can set.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::SignedDuration;

/// The browser's statement of where a request comes from (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A cookie of the platform's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// The session of the signed-in user.
    Session,
    /// The state of a sign-in that is not finished.
    SigningIn,
}

impl Cookie {
    /// The name. With TLS it has a prefix that keeps other hosts from setting the cookie (RFC 6265bis section 4.1.3).
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Host-mgx",
            (Self::Session, false) => "mgx",
            (Self::SigningIn, true) => "__Secure-mgx_signing_in",
            (Self::SigningIn, false) => "mgx_signing_in",
        }
    }

    /// `Set-Cookie`. The sign-in cookie is `Lax`, because the browser returns with it from the provider's pages, possibly at
    /// the end of a navigation that began on another site.
    pub(crate) fn set(self, value: &str, life: SignedDuration, secure: bool) -> HeaderValue {
        let (path, site) = match self {
            Self::Session => ("/", "Strict"),
            Self::SigningIn => ("/auth", "Lax"),
        };
        let (name, life, flag) = (self.name(secure), life.as_secs(), if secure { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path={path}; Max-Age={life}; HttpOnly; SameSite={site}{flag}");
        HeaderValue::from_str(&text).expect("our own values are plain")
    }

    /// `Set-Cookie` that deletes it.
    pub(crate) fn clear(self, secure: bool) -> HeaderValue {
        self.set("", SignedDuration::ZERO, secure)
    }

    /// Its value, if the request has exactly one: of two cookies with this name, another site has set one.
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

/// Whether a request with a cookie comes from a page of `origin`, by its `Sec-Fetch-Site` and `Origin`. A request that
/// changes something must have at least one of them.
pub(crate) fn is_same_origin(method: &Method, headers: &HeaderMap, origin: &str) -> bool {
    let site = one(headers, &SEC_FETCH_SITE);
    let from = one(headers, &header::ORIGIN);
    let site_fits = match site {
        FieldValue::Absent => true,
        // an address that the user typed, or opened from outside of any page
        FieldValue::Once("none") => method.is_safe(),
        FieldValue::Once(site) => site == "same-origin",
        FieldValue::Invalid => false,
    };
    let origin_fits = match from {
        FieldValue::Absent => true,
        FieldValue::Once(from) => from == origin,
        FieldValue::Invalid => false,
    };
    let is_stated = matches!(site, FieldValue::Once(_)) || matches!(from, FieldValue::Once(_));
    site_fits && origin_fits && (is_stated || method.is_safe())
}

/// The value of a header field that may occur once.
#[derive(Clone, Copy)]
enum FieldValue<'a> {
    Absent,
    Once(&'a str),
    Invalid,
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> FieldValue<'a> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => FieldValue::Absent,
        (Some(value), None) => value.to_str().map_or(FieldValue::Invalid, FieldValue::Once),
        (Some(_), Some(_)) => FieldValue::Invalid,
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
        let accepted = |method: Method, pairs: &[(&'static str, &'static str)]| {
            is_same_origin(&method, &headers(pairs), HERE)
        };
        let site = "sec-fetch-site";
        assert!(accepted(Method::POST, &[(site, "same-origin"), ("origin", HERE)]));
        assert!(accepted(Method::POST, &[(site, "same-origin")]));
        assert!(accepted(Method::POST, &[("origin", HERE)]), "a browser of before 2023");
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
            assert!(!accepted(Method::POST, wrong), "{wrong:?}");
            assert!(!accepted(Method::DELETE, wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_request_that_reads_needs_no_origin_but_may_not_name_another() {
        let accepted =
            |pairs: &[(&'static str, &'static str)]| is_same_origin(&Method::GET, &headers(pairs), HERE);
        // the first is sent by an EventSource of our own pages
        for right in [&[("sec-fetch-site", "same-origin")][..], &[("sec-fetch-site", "none")], &[]] {
            assert!(accepted(right), "{right:?}");
        }
        for wrong in [
            &[("sec-fetch-site", "same-site")][..],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://127.0.0.1:3000")],
        ] {
            assert!(!accepted(wrong), "{wrong:?}");
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
