//! Storage in memory, for tests: everything behind one lock, forgotten at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use uuid::Uuid;

use crate::api_token::ApiToken;
use crate::audit::AuditEntry;
use crate::browser::BrowserSession;
use crate::client::Client;
use crate::device::{Decision, Device, Poll, Polled, UserCode};
use crate::grant::{Code, CodeUse, Grant, Refresh, Turn, Whose};
use crate::ids::{ClientId, GrantId, SessionId, TokenId, UserId, Username};
use crate::scope::Scope;
use crate::secret::Digest;
use crate::storage::{Accounts, Grants, Sessions, StorageError};
use crate::user::{PasswordHash, User};

/// Storage in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<UserId, User>,
    clients: BTreeMap<ClientId, Client>,
    audit: Vec<AuditEntry>,
    api_tokens: HashMap<TokenId, ApiToken>,
    grants: HashMap<GrantId, Grant>,
    codes: HashMap<Digest, Code>,
    revoked: HashMap<Uuid, Timestamp>,
    consents: HashMap<(UserId, ClientId), Scope>,
    sessions: HashMap<SessionId, BrowserSession>,
    devices: HashMap<UserCode, Device>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_grants(&mut self, gone: impl Fn(&Grant) -> bool) -> usize {
        let before = self.grants.len();
        self.grants.retain(|_, grant| !gone(grant));
        let grants = &self.grants;
        self.codes.retain(|_, code| grants.contains_key(&code.grant));
        before - self.grants.len()
    }
}

#[async_trait]
impl Accounts for Memory {
    async fn add_user(&self, user: &User) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let taken = inner.users.values().any(|other| other.id == user.id || other.name == user.name);
        if !taken {
            inner.users.insert(user.id, user.clone());
        }
        Ok(!taken)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.lock().users.get(&id).cloned())
    }

    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        Ok(self.lock().users.values().find(|user| user.name == *name).cloned())
    }

    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        let mut users: Vec<User> = self.lock().users.values().cloned().collect();
        users.sort_by(|one, other| one.name.cmp(&other.name));
        users.retain(|user| after.is_none_or(|after| user.name > *after));
        users.truncate(limit);
        Ok(users)
    }

    async fn change_user(&self, user: &User) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        if inner.users.values().any(|other| other.id != user.id && other.name == user.name) {
            return Ok(false);
        }
        let Some(known) = inner.users.get_mut(&user.id) else { return Ok(false) };
        *known = User { password: known.password.clone(), ..user.clone() };
        Ok(true)
    }

    async fn set_password(
        &self,
        id: UserId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let Some(user) = inner.users.get_mut(&id).filter(|user| user.password.as_ref() == from) else {
            return Ok(false);
        };
        user.password = Some(to.clone());
        Ok(true)
    }

    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        inner.sessions.retain(|_, session| session.user != id);
        inner.consents.retain(|(user, _), _| *user != id);
        inner.api_tokens.retain(|_, token| token.user != id);
        inner.forget_grants(|grant| grant.user == id);
        Ok(inner.users.remove(&id).is_some())
    }

    async fn put_client(&self, client: &Client) -> Result<(), StorageError> {
        self.lock().clients.insert(client.id.clone(), client.clone());
        Ok(())
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        Ok(self.lock().clients.get(id).cloned())
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        let inner = self.lock();
        let later = inner.clients.values().filter(|client| after.is_none_or(|after| client.id > *after));
        Ok(later.take(limit).cloned().collect())
    }

    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        inner.consents.retain(|(_, client), _| client != id);
        inner.devices.retain(|_, device| device.client != *id);
        inner.forget_grants(|grant| grant.client == *id);
        Ok(inner.clients.remove(id).is_some())
    }

    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError> {
        self.lock().api_tokens.insert(token.id, token.clone());
        Ok(())
    }

    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError> {
        Ok(self.lock().api_tokens.values().find(|token| token.digest == digest).cloned())
    }

    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError> {
        let mut tokens: Vec<ApiToken> = self.lock().api_tokens.values().cloned().collect();
        tokens.retain(|token| token.user == user);
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        Ok(tokens)
    }

    async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let is_theirs = inner.api_tokens.get(&id).is_some_and(|token| token.user == user);
        Ok(is_theirs && inner.api_tokens.remove(&id).is_some())
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), StorageError> {
        self.lock().audit.push(entry.clone());
        Ok(())
    }

    async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError> {
        let inner = self.lock();
        let numbered = (1..).zip(inner.audit.iter().cloned());
        let mut log: Vec<_> =
            numbered.filter(|(number, _)| before.is_none_or(|before| *number < before)).collect();
        log.reverse();
        log.truncate(limit);
        Ok(log)
    }
}

#[async_trait]
impl Grants for Memory {
    async fn open(&self, grant: &Grant, code: Option<&Code>) -> Result<(), StorageError> {
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

    async fn grant_of(&self, family: Digest) -> Result<Option<Grant>, StorageError> {
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

    async fn show_code(&self, code: Digest, now: Timestamp) -> Result<CodeUse, StorageError> {
        let Inner { codes, grants, .. } = &mut *self.lock();
        let Some(code) = codes.get_mut(&code) else { return Ok(CodeUse::Unknown) };
        let Some(grant) = grants.get_mut(&code.grant) else { return Ok(CodeUse::Unknown) };
        Ok(code.show(grant, now))
    }

    async fn go_on(
        &self,
        id: GrantId,
        expires_at: Timestamp,
        refresh: Option<Refresh>,
    ) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let Some(grant) = inner.grants.get_mut(&id).filter(|grant| grant.revoked_at.is_none()) else {
            return Ok(false);
        };
        grant.expires_at = expires_at;
        grant.refresh = refresh;
        Ok(true)
    }

    async fn turn(
        &self,
        family: Digest,
        turn: Digest,
        client: &ClientId,
        next: Refresh,
        now: Timestamp,
    ) -> Result<Turn, StorageError> {
        let mut inner = self.lock();
        let of = |grant: &&mut Grant| grant.refresh.is_some_and(|refresh| refresh.family == family);
        let Some(grant) = inner.grants.values_mut().find(of) else { return Ok(Turn::Unknown) };
        Ok(grant.turn(&turn, client, next, now))
    }

    async fn revoke(&self, whose: &Whose, now: Timestamp) -> Result<Vec<GrantId>, StorageError> {
        let mut inner = self.lock();
        let meant = inner.grants.values_mut().filter(|grant| grant.is_of(whose) && grant.is_live(now));
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

    async fn remember_consent(
        &self,
        user: UserId,
        client: &ClientId,
        scope: &Scope,
    ) -> Result<(), StorageError> {
        self.lock().consents.insert((user, client.clone()), scope.clone());
        Ok(())
    }

    async fn sweep(&self, now: Timestamp, _: usize) -> Result<usize, StorageError> {
        let mut inner = self.lock();
        let swept = inner.forget_grants(|grant| grant.expires_at < now);
        let before = inner.sessions.len() + inner.devices.len() + inner.revoked.len();
        inner.sessions.retain(|_, session| session.expires_at >= now);
        inner.devices.retain(|_, device| device.expires_at >= now);
        inner.revoked.retain(|_, until| *until >= now);
        Ok(swept + before - inner.sessions.len() - inner.devices.len() - inner.revoked.len())
    }
}

#[async_trait]
impl Sessions for Memory {
    async fn sign_in(&self, session: &BrowserSession) -> Result<(), StorageError> {
        self.lock().sessions.insert(session.id, session.clone());
        Ok(())
    }

    async fn session(&self, cookie: Digest, now: Timestamp) -> Result<Option<BrowserSession>, StorageError> {
        let of = |session: &&BrowserSession| session.cookie == cookie && now < session.expires_at;
        Ok(self.lock().sessions.values().find(of).cloned())
    }

    async fn sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<BrowserSession>, StorageError> {
        let mut sessions: Vec<BrowserSession> = self.lock().sessions.values().cloned().collect();
        sessions.retain(|session| session.user == user && now < session.expires_at);
        sessions.sort_by_key(|session| std::cmp::Reverse(session.auth_time));
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn sign_out(&self, id: SessionId) -> Result<bool, StorageError> {
        Ok(self.lock().sessions.remove(&id).is_some())
    }

    async fn sign_out_everywhere(&self, user: UserId) -> Result<(), StorageError> {
        self.lock().sessions.retain(|_, session| session.user != user);
        Ok(())
    }

    async fn add_device(&self, device: &Device, now: Timestamp) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let taken = inner.devices.get(&device.user_code).is_some_and(|other| now < other.expires_at);
        if !taken {
            inner.devices.insert(device.user_code.clone(), device.clone());
        }
        Ok(!taken)
    }

    async fn device(&self, code: &UserCode) -> Result<Option<Device>, StorageError> {
        Ok(self.lock().devices.get(code).cloned())
    }

    async fn decide(
        &self,
        code: &UserCode,
        allowed: Option<&Grant>,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let Inner { devices, grants, .. } = &mut *self.lock();
        let Some(device) = devices.get_mut(code).filter(|device| device.is_open(now)) else {
            return Ok(false);
        };
        device.decision = allowed.map_or(Decision::Denied, |grant| Decision::Allowed(grant.id));
        grants.extend(allowed.map(|grant| (grant.id, grant.clone())));
        Ok(true)
    }

    async fn poll(&self, device: Digest, client: &ClientId, now: Timestamp) -> Result<Poll, StorageError> {
        let Inner { devices, grants, .. } = &mut *self.lock();
        let Some(known) = devices.values_mut().find(|known| known.digest == device) else {
            return Ok(Poll::Unknown);
        };
        let (polled, code) = (known.poll(client, now), known.user_code.clone());
        Ok(match polled {
            Polled::Pending => Poll::Pending,
            Polled::SlowDown => Poll::SlowDown,
            Polled::Expired => Poll::Expired,
            Polled::Unknown => Poll::Unknown,
            Polled::Denied => {
                devices.remove(&code);
                Poll::Denied
            }
            Polled::Allowed(grant) => {
                devices.remove(&code);
                grants.get(&grant).cloned().map_or(Poll::Unknown, |grant| Poll::Allowed(Box::new(grant)))
            }
        })
    }
}
