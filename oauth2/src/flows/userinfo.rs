//! The userinfo endpoint (OpenID Connect Core section 5.3).

use serde::Serialize;

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::UserId;
use crate::base::scope::OPENID;
use crate::flows::user_claims::UserClaims;
use crate::provider::Provider;
use crate::tokens::access_token::Subject;
use crate::tokens::dpop::DpopProof;
use crate::tokens::verifier::BoundTokenError;

/// A userinfo response (OpenID Connect Core section 5.3.2).
#[derive(Debug, Serialize)]
pub struct UserInfo {
    /// The user's id.
    pub sub: UserId,
    /// The claims that the scope permits.
    #[serde(flatten)]
    pub claims: UserClaims,
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
        Ok(UserInfo { sub: id, claims: UserClaims::of(&user, &access.scope) })
    }
}
