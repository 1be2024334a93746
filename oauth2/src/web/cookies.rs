//! Cookies: two of them, neither readable by a script nor sent outside `/oauth2`, where generated apps live.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::SignedDuration;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// Says who is signed in.
    Session,
    /// Ties a sign-in form to the browser that asked for it.
    Login,
}

impl Cookie {
    /// The name; with TLS, browsers let nothing without TLS set it.
    fn name(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Session, true) => "__Secure-mgx_session",
            (Self::Session, false) => "mgx_session",
            (Self::Login, true) => "__Secure-mgx_login",
            (Self::Login, false) => "mgx_login",
        }
    }

    /// `Set-Cookie`. `Lax`, because the request that has to find it comes from the client's pages.
    pub(super) fn set(self, value: &str, life: SignedDuration, secure: bool) -> HeaderValue {
        let (name, life, flag) = (self.name(secure), life.as_secs(), if secure { "; Secure" } else { "" });
        let text = format!("{name}={value}; Path=/oauth2; Max-Age={life}; HttpOnly; SameSite=Lax{flag}");
        HeaderValue::from_str(&text).expect("our own values are plain")
    }

    /// `Set-Cookie` that takes it away.
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

    /// The value, if there is one only: of two, somebody else has set one.
    pub(super) fn get(&self, kind: Cookie, secure: bool) -> Option<&str> {
        let mut values = self.0.iter().filter(|(name, _)| name == kind.name(secure)).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() && value.len() <= 128 => Some(value),
            _ => None,
        }
    }
}

/// What a form has to bring along, made of the cookie.
pub(super) fn csrf(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("mgx form\0{cookie}").as_bytes()))
}

/// Whether it did.
pub(super) fn matches(cookie: Option<&str>, given: Option<&str>) -> bool {
    let (Some(cookie), Some(given)) = (cookie, given) else { return false };
    csrf(cookie).as_bytes().ct_eq(given.as_bytes()).into()
}
