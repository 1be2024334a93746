//! The userinfo endpoint (OpenID Connect Core section 5.3).

use serde::Serialize;

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::{UserId, Username};
use crate::base::scope::{EMAIL, GROUPS, OPENID, PROFILE};
use crate::provider::Provider;
use crate::tokens::access_token::Subject;
use crate::tokens::dpop::DpopProof;
use crate::tokens::verifier::BoundTokenError;

/// A userinfo response (OpenID Connect Core section 5.3.2).
#[derive(Debug, Serialize)]
pub struct UserInfo {
    /// The user's id.
    pub sub: UserId,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<Username>,
    /// With scope `profile`, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<i64>,
    /// With scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// With scope `email`; always false, because addresses are not verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// With scope `groups`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
}

impl Provider {
    /// The claims about the user of an access token that its scope permits.
    ///
    /// # Errors
    /// `invalid_token` or `insufficient_scope`.
    pub async fn userinfo(&self, token: &str, proof: Option<DpopProof<'_>>) -> Result<UserInfo, OAuthError> {
        let invalid = || OAuthError::new(ErrorCode::InvalidToken, "the access token is not valid");
        let access = match proof {
            None => self.own_tokens.verify(token).map_err(|_| invalid())?,
            Some(proof) => self.own_tokens.verify_bound(token, proof).map_err(|unproved| match unproved {
                BoundTokenError::Token(_) => invalid(),
                BoundTokenError::Proof(error) => {
                    OAuthError::new(ErrorCode::InvalidDpopProofAtResource, error.to_string())
                }
            })?,
        };
        if !access.scope.has(OPENID) {
            return Err(OAuthError::new(ErrorCode::InsufficientScope, "the access token needs scope openid"));
        }
        let Subject::User(id) = access.subject else { return Err(invalid()) };
        if !self.has_live_grant(&access).await? {
            return Err(invalid());
        }
        let user = self.storage.user(id).await?.filter(|user| !user.disabled).ok_or_else(invalid)?;
        let (profile, email) = (access.scope.has(PROFILE), access.scope.has(EMAIL));
        Ok(UserInfo {
            sub: id,
            name: profile.then_some(user.display_name),
            preferred_username: profile.then_some(user.name),
            updated_at: profile.then(|| user.updated_at.as_second()),
            email_verified: (email && user.email.is_some()).then_some(false),
            email: user.email.filter(|_| email),
            groups: access.scope.has(GROUPS).then(|| user.groups.into_iter().collect()),
        })
    }
}
