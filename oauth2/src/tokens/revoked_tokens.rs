//! Revoked access tokens, kept in memory until they expire.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use uuid::Uuid;

use crate::base::ids::{GrantId, TokenId};

/// Revoked tokens and grants, each until its last access token has expired. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RevokedTokens(Arc<RwLock<HashMap<Uuid, Timestamp>>>);

impl RevokedTokens {
    /// Whether the token or its grant is revoked.
    pub(crate) fn has(&self, token: TokenId, grant: Option<GrantId>) -> bool {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !map.is_empty()
            && (map.contains_key(&token.0) || grant.is_some_and(|grant| map.contains_key(&grant.0)))
    }

    /// Adds `ids` with their expiry, and removes those that have expired.
    pub(crate) fn add(&self, ids: impl IntoIterator<Item = (Uuid, Timestamp)>, now: Timestamp) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, until| now < *until);
        map.extend(ids);
    }
}
