//! Grants, codes, refresh tokens and consents, in memory.

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::base::digest::Digest;
use crate::base::ids::{ClientId, GrantId, UserId};
use crate::base::scope::Scope;
use crate::grants::authorization_code::{AuthorizationCode, CodeRedemption};
use crate::grants::grant::{Grant, GrantFilter, RefreshOutcome};
use crate::grants::refresh_token::StoredRefreshToken;
use crate::storage::memory::{Inner, MemoryStorage};
use crate::storage::{Grants, StorageError};

#[async_trait]
impl Grants for MemoryStorage {
    async fn add_grant(&self, grant: &Grant, code: Option<&AuthorizationCode>) -> Result<(), StorageError> {
        let mut inner = self.lock();
        inner.grants.insert(grant.id, grant.clone());
        if let Some(code) = code {
            inner.codes.insert(code.digest, code.clone());
        }
        Ok(())
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StorageError> {
        Ok(self.lock().grants.get(&id).cloned())
    }

    async fn grant_of_refresh_token(&self, family: Digest) -> Result<Option<Grant>, StorageError> {
        let of = |grant: &&Grant| grant.refresh.is_some_and(|refresh| refresh.family == family);
        Ok(self.lock().grants.values().find(of).cloned())
    }

    async fn grants_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Grant>, StorageError> {
        let mut grants: Vec<Grant> = self.lock().grants.values().cloned().collect();
        grants.retain(|grant| grant.user == user && grant.is_live(now));
        grants.sort_by_key(|grant| std::cmp::Reverse(grant.created_at));
        grants.truncate(limit);
        Ok(grants)
    }

    async fn redeem_code(&self, code: Digest, now: Timestamp) -> Result<CodeRedemption, StorageError> {
        let Inner { codes, grants, .. } = &mut *self.lock();
        let Some(code) = codes.get_mut(&code) else { return Ok(CodeRedemption::Unknown) };
        let Some(grant) = grants.get_mut(&code.grant) else { return Ok(CodeRedemption::Unknown) };
        Ok(code.redeem(grant, now))
    }

    async fn extend_grant(
        &self,
        id: GrantId,
        expires_at: Timestamp,
        refresh: Option<StoredRefreshToken>,
    ) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let Some(grant) = inner.grants.get_mut(&id).filter(|grant| grant.revoked_at.is_none()) else {
            return Ok(false);
        };
        grant.expires_at = expires_at;
        grant.refresh = refresh;
        Ok(true)
    }

    async fn rotate_refresh_token(
        &self,
        family: Digest,
        turn: Digest,
        client: &ClientId,
        next: StoredRefreshToken,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StorageError> {
        let mut inner = self.lock();
        let of = |grant: &&mut Grant| grant.refresh.is_some_and(|refresh| refresh.family == family);
        let Some(grant) = inner.grants.values_mut().find(of) else { return Ok(RefreshOutcome::Unknown) };
        Ok(grant.rotate(&turn, client, next, now))
    }

    async fn revoke_grants(
        &self,
        filter: &GrantFilter,
        now: Timestamp,
    ) -> Result<Vec<GrantId>, StorageError> {
        let mut inner = self.lock();
        let meant = inner.grants.values_mut().filter(|grant| grant.matches(filter) && grant.is_live(now));
        Ok(meant.filter_map(|grant| grant.revoke(now).then_some(grant.id)).collect())
    }

    async fn revoke_tokens(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StorageError> {
        self.lock().revoked.extend(ids.iter().map(|id| (*id, until)));
        Ok(())
    }

    async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<(Uuid, Timestamp)>, StorageError> {
        let inner = self.lock();
        Ok(inner.revoked.iter().filter(|(_, until)| now < **until).map(|(id, until)| (*id, *until)).collect())
    }

    async fn consent(&self, user: UserId, client: &ClientId) -> Result<Option<Scope>, StorageError> {
        Ok(self.lock().consents.get(&(user, client.clone())).cloned())
    }

    async fn set_consent(&self, user: UserId, client: &ClientId, scope: &Scope) -> Result<(), StorageError> {
        self.lock().consents.insert((user, client.clone()), scope.clone());
        Ok(())
    }

    async fn delete_expired(&self, now: Timestamp, _: usize) -> Result<usize, StorageError> {
        let mut inner = self.lock();
        let swept = inner.forget_grants(|grant| grant.expires_at < now);
        let before = inner.sessions.len() + inner.devices.len() + inner.revoked.len();
        inner.sessions.retain(|_, session| session.expires_at >= now);
        inner.devices.retain(|_, device| device.expires_at >= now);
        inner.revoked.retain(|_, until| *until >= now);
        Ok(swept + before - inner.sessions.len() - inner.devices.len() - inner.revoked.len())
    }
}
