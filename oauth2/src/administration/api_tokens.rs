//! Making, checking and removing API tokens.

use jiff::Timestamp;
use secrecy::SecretString;

use crate::accounts::api_token::{API_TOKEN_PREFIX, ApiToken};
use crate::accounts::audit::AuditEvent;
use crate::accounts::user::User;
use crate::administration::Administration;
use crate::base::digest::Digest;
use crate::base::ids::{TokenId, UserId};
use crate::base::scope::Scope;
use crate::provider::{AuditContext, Provider};
use crate::storage::StorageError;

/// The most API tokens of a user.
pub const MAX_API_TOKENS_PER_USER: usize = 100;

/// Why no API token was made.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// The user has [`MAX_API_TOKENS_PER_USER`].
    #[error("a user has at most {MAX_API_TOKENS_PER_USER} API tokens")]
    TooMany,
    /// The name is empty or too long.
    #[error("the name of an API token has 1 to 100 characters")]
    Name,
    /// The storage does not respond.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Provider {
    /// The API token with this text and its user, if the token is valid and the user not disabled.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn api_token(&self, text: &str) -> Result<Option<(User, ApiToken)>, StorageError> {
        if !text.starts_with(API_TOKEN_PREFIX) {
            return Ok(None);
        }
        let now = self.clock.now();
        let token = self.storage.api_token(Digest::of(text)).await?;
        let Some(token) = token.filter(|token| token.expires_at.is_none_or(|end| now < end)) else {
            return Ok(None);
        };
        let user = self.storage.user(token.user).await?.filter(|user| !user.disabled);
        Ok(user.map(|user| (user, token)))
    }
}

impl Administration<'_> {
    /// Makes an API token. Its text is returned once; only its hash is stored.
    ///
    /// # Errors
    /// [`ApiTokenError`].
    pub async fn add_api_token(
        &self,
        user: UserId,
        name: &str,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> Result<(ApiToken, SecretString), ApiTokenError> {
        if !(1..=100).contains(&name.chars().count()) {
            return Err(ApiTokenError::Name);
        }
        if self.provider.storage.api_tokens_of(user).await?.len() >= MAX_API_TOKENS_PER_USER {
            return Err(ApiTokenError::TooMany);
        }
        let (text, digest) = self.provider.random.secret(API_TOKEN_PREFIX);
        let (id, created_at) = (TokenId(self.provider.random.id()), self.provider.clock.now());
        let token = ApiToken { id, digest, user, name: name.to_owned(), scope, created_at, expires_at };
        self.provider.storage.add_api_token(&token).await?;
        self.provider
            .record(
                AuditEvent::ApiTokenAdded { token: id },
                AuditContext { user: Some(user), ..self.context() },
            )
            .await;
        Ok((token, text))
    }

    /// Removes an API token of this user. Whether there was one.
    ///
    /// # Errors
    /// The storage does not respond.
    pub async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError> {
        let removed = self.provider.storage.remove_api_token(user, id).await?;
        if removed {
            let context = AuditContext { user: Some(user), ..self.context() };
            self.provider.record(AuditEvent::ApiTokenRemoved { token: id }, context).await;
        }
        Ok(removed)
    }
}
