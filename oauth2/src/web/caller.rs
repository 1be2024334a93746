//! The sender of a request: address, language and cookies.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::request::Parts;
use http::{HeaderMap, header};

use super::cookies::{self, Cookie, CookieJar};
use super::pages::texts::Lang;
use crate::accounts::browser_session::SignedIn;
use crate::base::error::OAuthError;
use crate::provider::Provider;

/// The address of the sender, which a server behind a proxy sets as a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The sender of a request.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    pub(super) lang: Lang,
    pub(super) jar: CookieJar,
    pub(super) headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let given = parts.extensions.get::<Peer>().map(|peer| peer.0);
        let connected = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        // without an address all senders share one limit
        let peer = given.or(connected).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let headers = parts.headers.clone();
        Ok(Self { peer, lang: Lang::of(&headers), jar: CookieJar::of(&headers), headers })
    }
}

impl Caller {
    /// The user who is signed in in this browser.
    pub(super) async fn signed_in(&self, provider: &Provider) -> Result<Option<SignedIn>, OAuthError> {
        match self.jar.get(Cookie::Session, provider.settings.issuer.is_secure()) {
            Some(cookie) => Ok(provider.signed_in(cookie).await?),
            None => Ok(None),
        }
    }

    /// The CSRF token of the forms in this browser.
    pub(super) fn csrf(&self, provider: &Provider) -> Option<String> {
        let secure = provider.settings.issuer.is_secure();
        self.jar.get(Cookie::Session, secure).map(cookies::csrf)
    }

    /// Whether a form was sent by a page of the provider in this browser: by its origin, and by its CSRF token, which
    /// is derived from `cookie`.
    pub(super) fn is_genuine(&self, provider: &Provider, cookie: Cookie, csrf: Option<&str>) -> bool {
        let value = self.jar.get(cookie, provider.settings.issuer.is_secure());
        self.is_same_origin(provider) && cookies::matches(value, csrf)
    }

    /// Whether the browser says that the form was sent by a page of the provider.
    fn is_same_origin(&self, provider: &Provider) -> bool {
        let text = |name| self.headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let site = text(header::HeaderName::from_static("sec-fetch-site"));
        let origin = text(header::ORIGIN);
        site.is_none_or(|site| matches!(site, "same-origin" | "none"))
            && origin.is_none_or(|origin| origin == provider.settings.issuer.origin())
    }

    /// The `User-Agent`.
    pub(super) fn agent(&self) -> &str {
        self.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}
