//! Token revocation (RFC 7009).

use crate::base::error::{ErrorCode, OAuthError};
use crate::base::ids::GrantId;
use crate::clients::client::Client;
use crate::grants::grant::GrantFilter;
use crate::grants::refresh_token::RefreshToken;
use crate::provider::{AuditContext, Provider};

impl Provider {
    /// Revokes a token that was issued to `caller`. A token that is not valid is no error (RFC 7009 section 2.2).
    ///
    /// # Errors
    /// The token is another client's, or the storage does not respond.
    pub async fn revoke_token(&self, token: &str, caller: &Client) -> Result<(), OAuthError> {
        let others = || OAuthError::new(ErrorCode::UnauthorizedClient, "the token is another client's");
        if let Some(refresh) = RefreshToken::parse(token) {
            let Some(grant) = self.storage.grant_of_refresh_token(refresh.family()).await? else {
                return Ok(());
            };
            if grant.client != caller.id {
                return Err(others());
            }
            return self.revoke_grant(grant.id, caller).await;
        }
        let Ok(access) = self.own_tokens.verify_unproved(token) else { return Ok(()) };
        if access.client != caller.id {
            return Err(others());
        }
        Ok(self.revoke_token_ids(&[access.token.0]).await?)
    }

    async fn revoke_grant(&self, grant: GrantId, caller: &Client) -> Result<(), OAuthError> {
        let context = AuditContext { user: None, client: Some(&caller.id), by: None, peer: None };
        self.revoke(&GrantFilter::Grant(grant), context).await?;
        Ok(())
    }
}
