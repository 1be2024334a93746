//! API tokens: what somebody gives to a program of their own instead of a password, for as long as they like.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::admin::Actor;
use crate::audit::AuditEvent;
use crate::ids::{TokenId, UserId};
use crate::provider::{About, Provider};
use crate::scope::Scope;
use crate::secret::Digest;
use crate::storage::StorageError;
use crate::user::User;

/// What every API token begins with: an API tells them from access tokens by it.
pub const API_TOKEN_PREFIX: &str = "mgx_pat_";

/// How many a user may have.
pub const MOST_API_TOKENS: usize = 100;

/// An API token as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id. No secret.
    pub id: TokenId,
    /// Hash of the token.
    pub digest: Digest,
    /// Whose it is.
    pub user: UserId,
    /// What they call it.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does by itself.
    pub expires_at: Option<Timestamp>,
}

/// Why there is no API token. Whoever wants one does something else, or tries again.
#[derive(Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// The user has too many.
    #[error("a user has at most {MOST_API_TOKENS} API tokens")]
    TooMany,
    /// The name is empty or too long.
    #[error("an API token's name has 1 to 100 characters")]
    Name,
    /// The store does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Provider {
    /// Whose API token this is, and what it is good for, if it counts.
    ///
    /// # Errors
    /// The store does not answer.
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

impl Actor<'_> {
    /// Makes an API token; with its text, which is stored nowhere.
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
        if self.provider.storage.api_tokens_of(user).await?.len() >= MOST_API_TOKENS {
            return Err(ApiTokenError::TooMany);
        }
        let (text, digest) = self.provider.chance.secret(API_TOKEN_PREFIX);
        let (id, created_at) = (TokenId(self.provider.chance.id()), self.provider.clock.now());
        let token = ApiToken { id, digest, user, name: name.to_owned(), scope, created_at, expires_at };
        self.provider.storage.add_api_token(&token).await?;
        self.provider
            .note(AuditEvent::ApiTokenAdded { token: id }, About { user: Some(user), ..self.about() })
            .await;
        Ok((token, text))
    }

    /// Takes an API token of this user back. Whether there was one.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError> {
        let removed = self.provider.storage.remove_api_token(user, id).await?;
        if removed {
            let about = About { user: Some(user), ..self.about() };
            self.provider.note(AuditEvent::ApiTokenRemoved { token: id }, about).await;
        }
        Ok(removed)
    }
}
