//! An authorization request, from its parameters: what is wrong with it, and where one may say so (pure).
//!
//! Until client and redirect URI are known to belong together, nobody is redirected anywhere.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use ring::digest::{SHA256, digest};

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::params::Params;
use crate::base::scope::Scope;
use crate::clients::client::Client;
use crate::clients::grant_type::GrantType;

/// A request that may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Where the answer goes.
    pub target: ResponseTarget,
    /// What is asked for.
    pub scope: Scope,
    /// PKCE: base64url of SHA-256 of the verifier.
    pub challenge: String,
    /// For the id token.
    pub nonce: Option<String>,
    /// What the client wants the user to be asked.
    pub prompt: Prompt,
    /// How long ago the user may have shown who they are.
    pub max_age: Option<SignedDuration>,
    /// Who the client believes the user to be.
    pub login_hint: Option<String>,
}

/// Where answers go: a redirect URI that the client is registered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTarget {
    /// As the request named it.
    pub redirect_uri: String,
    /// To be given back as it came.
    pub state: Option<String>,
}

/// What the client wants the user to be asked (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Nothing: answer at once.
    Never,
    /// What is necessary.
    IfNeeded {
        /// And in any case who they are.
        login: bool,
        /// And in any case whether they allow it.
        consent: bool,
    },
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectedRequest {
    /// Said on a page of ours: nobody knows where the request came from.
    ShowError(OAuthError),
    /// Said to the client.
    RedirectError(ResponseTarget, OAuthError),
}

impl ResponseTarget {
    /// Where the answers to these parameters go, if the client is registered with that.
    ///
    /// # Errors
    /// There is no such redirect URI.
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

impl AuthorizeRequest {
    /// The request that these parameters make of this client.
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
            return Err(OAuthError::new(
                ErrorCode::RequestNotSupported,
                "request objects are not known here",
            ));
        }
        if params.get("request_uri").is_some() {
            let detail = "request objects are not known here";
            return Err(OAuthError::new(ErrorCode::RequestUriNotSupported, detail));
        }
        match params.get("response_type") {
            Some("code") => {}
            Some(_) => {
                let detail = "response_type is code";
                return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, detail));
            }
            None => return Err(invalid("response_type is missing")),
        }
        if params.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode is query"));
        }
        if !client.grants.contains(&GrantType::AuthorizationCode) {
            return Err(OAuthError::unauthorized_client());
        }
        if params.get("code_challenge_method") != Some("S256") {
            return Err(invalid("code_challenge_method is S256"));
        }
        let challenge = params.get("code_challenge").filter(|text| is_challenge(text));
        let challenge = challenge.ok_or_else(|| invalid("code_challenge is base64url of a SHA-256"))?;
        let scope = client.grant_scope(params.get("scope")).ok_or_else(OAuthError::invalid_scope)?;
        let nonce = params.get("nonce").map(str::to_owned);
        if nonce.as_ref().is_some_and(|nonce| nonce.len() > 512) {
            return Err(invalid("nonce has at most 512 bytes"));
        }
        let max_age = params.get("max_age").map(str::parse::<u32>).transpose();
        let max_age = max_age.map_err(|_| invalid("max_age is a number of seconds"))?;
        Ok(Self {
            target,
            scope,
            challenge: challenge.to_owned(),
            nonce,
            prompt: Prompt::read(params.get("prompt"))?,
            max_age: max_age.map(|seconds| SignedDuration::from_secs(seconds.into())),
            login_hint: params.get("login_hint").map(|hint| hint.chars().take(64).collect()),
        })
    }
}

impl Prompt {
    fn read(text: Option<&str>) -> Result<Self, OAuthError> {
        let words: BTreeSet<&str> = text.unwrap_or("").split(' ').filter(|word| !word.is_empty()).collect();
        if let Some(word) =
            words.iter().find(|word| !matches!(**word, "none" | "login" | "consent" | "select_account"))
        {
            tracing::debug!(word, "a prompt that is not known here");
            return Err(OAuthError::invalid_request("prompt is none, login, consent or select_account"));
        }
        if !words.contains("none") {
            let login = words.contains("login") || words.contains("select_account");
            return Ok(Self::IfNeeded { login, consent: words.contains("consent") });
        }
        if words.len() > 1 {
            return Err(OAuthError::invalid_request("prompt none is said alone"));
        }
        Ok(Self::Never)
    }
}

fn is_challenge(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether `verifier` is what `challenge` was made of (RFC 7636 section 4.6).
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
