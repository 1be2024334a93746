//! The two cookies of the pages. No script can read them, and they are sent to `/oauth2` only, because generated apps
//! are served under other paths.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::SignedDuration;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// A cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// The browser session.
    Session,
    /// Binds a sign-in form to the browser that requested it.
    Login,
}

impl Cookie {
    /// The name. Browsers accept the prefix `__Secure-` only over TLS.
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Secure-mgx_session",
            (Self::Session, false) => "mgx_session",
            (Self::Login, true) => "__Secure-mgx_login",
            (Self::Login, false) => "mgx_login",
        }
    }

    /// The value of `Set-Cookie`. `SameSite=Lax`, because authorization requests come from pages of the client.
    pub(super) fn set(self, value: &str, life: SignedDuration, secure: bool) -> HeaderValue {
        let (name, life, flag) = (self.name(secure), life.as_secs(), if secure { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/oauth2; Max-Age={life}; HttpOnly; SameSite=Lax{flag}");
        HeaderValue::from_str(&text).expect("our own values are plain")
    }

    /// The value of `Set-Cookie` that deletes it.
    pub(super) fn clear(self, secure: bool) -> HeaderValue {
        self.set("", SignedDuration::ZERO, secure)
    }
}

/// The cookies of a request.
#[derive(Debug)]
pub(super) struct CookieJar(Vec<(String, String)>);

impl CookieJar {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The value. With two cookies of this name there is none, because another origin has set one of them.
    pub(super) fn get(&self, kind: Cookie, secure: bool) -> Option<&str> {
        let mut values = self.0.iter().filter(|(name, _)| name == kind.name(secure)).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() && value.len() <= 128 => Some(value),
            _ => None,
        }
    }
}

/// The CSRF token of a form, derived from the cookie.
pub(super) fn csrf(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("mgx form\0{cookie}").as_bytes()))
}

/// Whether `given` is the CSRF token for `cookie`.
pub(super) fn matches(cookie: Option<&str>, given: Option<&str>) -> bool {
    let (Some(cookie), Some(given)) = (cookie, given) else { return false };
    csrf(cookie).as_bytes().ct_eq(given.as_bytes()).into()
}
