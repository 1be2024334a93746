//! An authorization request (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2.1), read from its parameters.
//!
//! An error is redirected to the client only if the redirect URI is registered for it (RFC 9700 section 4.11).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::params::Params;
use crate::base::scope::Scope;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;

/// A valid authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// Where the response goes.
    pub target: ResponseTarget,
    /// The requested scope.
    pub scope: Scope,
    /// The PKCE code challenge: base64url of the SHA-256 of the verifier (RFC 7636 section 4.2).
    pub challenge: String,
    /// The `nonce` for the id token.
    pub nonce: Option<String>,
    /// The pages that the client wants the user to see.
    pub prompt: Prompt,
    /// The longest time since the user entered the password. Zero demands a sign-in in any case.
    pub max_age: Option<SignedDuration>,
    /// The user was sent to sign in for this request at this time: a sign-in since then satisfies it.
    pub signed_in_since: Option<Timestamp>,
    /// The user name that the client expects.
    pub login_hint: Option<String>,
}

/// The parameter that the provider adds to a request for which it sends the user to sign in.
pub(crate) const SIGNED_IN_SINCE: &str = "mgx_signed_in_since";

/// Where a response goes: a registered redirect URI of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTarget {
    /// The redirect URI, as the request named it.
    pub redirect_uri: String,
    /// The `state` to be returned unchanged.
    pub state: Option<String>,
}

/// The parameter `prompt` (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// `none`: no page may be shown.
    Never,
    /// The necessary pages are shown.
    IfNeeded {
        /// `login` or `select_account`: the user signs in again in any case.
        login: bool,
        /// `consent`: the user is asked for consent in any case.
        consent: bool,
    },
}

/// Why a request is refused, and where the error is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectedRequest {
    /// On a page of the provider, because the redirect URI is not trusted.
    ShowError(OAuthError),
    /// To the client, by a redirect.
    RedirectError(ResponseTarget, OAuthError),
}

impl ResponseTarget {
    /// The target of a request with these parameters, if its redirect URI is registered for the client.
    ///
    /// # Errors
    /// The redirect URI is missing or not registered.
    pub fn of(params: &Params, client: &Client) -> Result<Self, OAuthError> {
        let given = params.get("redirect_uri");
        let given = given.ok_or_else(|| OAuthError::invalid_request("redirect_uri is missing"))?;
        if client.redirect_uris.iter().any(|known| known.admits(given)) {
            Ok(Self { redirect_uri: given.to_owned(), state: params.get("state").map(str::to_owned) })
        } else {
            Err(OAuthError::invalid_request("the client is not registered with this redirect_uri"))
        }
    }
}

impl AuthorizationRequest {
    /// Reads the request of this client from its parameters.
    ///
    /// # Errors
    /// [`RejectedRequest`].
    pub fn read(params: &Params, client: &Client) -> Result<Self, RejectedRequest> {
        let target = ResponseTarget::of(params, client).map_err(RejectedRequest::ShowError)?;
        match Self::read_for(params, client, target.clone()) {
            Ok(request) => Ok(request),
            Err(error) => Err(RejectedRequest::RedirectError(target, error)),
        }
    }

    fn read_for(params: &Params, client: &Client, target: ResponseTarget) -> Result<Self, OAuthError> {
        let invalid = OAuthError::invalid_request;
        if params.get("request").is_some() {
            return Err(OAuthError::new(ErrorCode::RequestNotSupported, "request objects are not supported"));
        }
        if params.get("request_uri").is_some() {
            let detail = "request objects are not supported";
            return Err(OAuthError::new(ErrorCode::RequestUriNotSupported, detail));
        }
        match params.get("response_type") {
            Some("code") => {}
            Some(_) => {
                let detail = "response_type has to be code";
                return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, detail));
            }
            None => return Err(invalid("response_type is missing")),
        }
        if params.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode has to be query"));
        }
        if !client.grants.contains(&GrantType::AuthorizationCode) {
            return Err(OAuthError::unauthorized_client());
        }
        let challenge = challenge(params).map_err(|detail| {
            tracing::info!(client = %client.id, detail, "an authorization request without PKCE is refused");
            invalid(detail)
        })?;
        let scope = client.grant_scope(params.get("scope")).ok_or_else(OAuthError::invalid_scope)?;
        let nonce = params.get("nonce").map(str::to_owned);
        if nonce.as_ref().is_some_and(|nonce| nonce.len() > 512) {
            return Err(invalid("nonce has at most 512 bytes"));
        }
        let max_age = params.get("max_age").map(str::parse::<u32>).transpose();
        let max_age = max_age.map_err(|_| invalid("max_age is a number of seconds"))?;
        let since = params.get(SIGNED_IN_SINCE).and_then(|text| text.parse().ok());
        Ok(Self {
            target,
            scope,
            challenge,
            nonce,
            prompt: Prompt::read(params.get("prompt"))?,
            max_age: max_age.map(|seconds| SignedDuration::from_secs(seconds.into())),
            signed_in_since: since.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            login_hint: params.get("login_hint").map(|hint| hint.chars().take(64).collect()),
        })
    }
}

impl AuthorizationRequest {
    /// Whether a sign-in at `auth_time` is recent enough at `now`.
    pub(crate) fn accepts_sign_in(&self, auth_time: Timestamp, now: Timestamp) -> bool {
        if self.prompt.demands_sign_in() {
            return false;
        }
        match (self.signed_in_since, self.max_age) {
            (Some(since), _) => since <= auth_time,
            (None, Some(most)) => !most.is_zero() && now.duration_since(auth_time) <= most,
            (None, None) => true,
        }
    }
}

impl Prompt {
    /// Whether the user signs in again in any case.
    pub(crate) fn demands_sign_in(self) -> bool {
        match self {
            Self::Never => false,
            Self::IfNeeded { login, .. } => login,
        }
    }

    fn read(text: Option<&str>) -> Result<Self, OAuthError> {
        let words: BTreeSet<&str> = text.unwrap_or("").split(' ').filter(|word| !word.is_empty()).collect();
        if let Some(word) =
            words.iter().find(|word| !matches!(**word, "none" | "login" | "consent" | "select_account"))
        {
            tracing::debug!(word, "unknown prompt");
            return Err(OAuthError::invalid_request(
                "prompt has to be none, login, consent or select_account",
            ));
        }
        if !words.contains("none") {
            let login = words.contains("login") || words.contains("select_account");
            return Ok(Self::IfNeeded { login, consent: words.contains("consent") });
        }
        if words.len() > 1 {
            return Err(OAuthError::invalid_request("prompt=none cannot be combined with another value"));
        }
        Ok(Self::Never)
    }
}

/// The code challenge (RFC 7636 section 4.3), which every client has to send (OAuth 2.1 section 4.1.1), or what is wrong
/// with it.
fn challenge(params: &Params) -> Result<String, &'static str> {
    let given = (params.get("code_challenge"), params.get("code_challenge_method"));
    match given {
        (None, None) => {
            Err("the client has to use PKCE (RFC 7636): code_challenge and code_challenge_method=S256 \
                             are missing; see the PKCE setting of the client")
        }
        (None, Some(_)) => Err("code_challenge is missing: the client has to use PKCE (RFC 7636)"),
        (Some(_), None) => {
            Err("code_challenge_method is missing, which means plain: the client has to use PKCE \
                                with S256 (RFC 7636)")
        }
        (Some(text), Some("S256")) if is_challenge(text) => Ok(text.to_owned()),
        (Some(_), Some("S256")) => Err("code_challenge has to be base64url of a SHA-256 (RFC 7636)"),
        (Some(_), Some(_)) => {
            Err("code_challenge_method has to be S256: the client has to use PKCE with S256 \
                                   (RFC 7636)")
        }
    }
}

fn is_challenge(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether `challenge` was made from `verifier` (RFC 7636 section 4.6).
pub(crate) fn is_verifier(verifier: &str, challenge: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(plain)
        && URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_of_rfc_7636() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(is_challenge(challenge));
        assert!(is_verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", challenge));
        assert!(!is_verifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK", challenge));
        for bad in ["", "x", &"x".repeat(42), &"x".repeat(129), &"x y".repeat(20), challenge] {
            assert!(!is_verifier(bad, challenge), "{bad}");
        }
        for bad in ["", "x", &"=".repeat(43), &challenge[1..], "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN"]
        {
            assert!(!is_challenge(bad), "{bad}");
        }
    }
}
