//! A storage in memory, for tests: everything behind one lock.

mod accounts;
mod grants;
mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use uuid::Uuid;

use crate::accounts::api_token::ApiToken;
use crate::accounts::audit::AuditEntry;
use crate::accounts::browser_session::BrowserSession;
use crate::accounts::user::User;
use crate::base::digest::Digest;
use crate::base::ids::{ClientId, GrantId, SessionId, TokenId, UserId};
use crate::base::scope::Scope;
use crate::clients::client::Client;
use crate::grants::authorization_code::AuthorizationCode;
use crate::grants::device::Device;
use crate::grants::grant::Grant;
use crate::grants::user_code::UserCode;

/// A storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage(Mutex<Inner>);

#[derive(Debug, Default)]
pub(super) struct Inner {
    users: HashMap<UserId, User>,
    clients: BTreeMap<ClientId, Client>,
    audit: Vec<AuditEntry>,
    api_tokens: HashMap<TokenId, ApiToken>,
    grants: HashMap<GrantId, Grant>,
    codes: HashMap<Digest, AuthorizationCode>,
    revoked: HashMap<Uuid, Timestamp>,
    consents: HashMap<(UserId, ClientId), Scope>,
    sessions: HashMap<SessionId, BrowserSession>,
    devices: HashMap<UserCode, Device>,
}

impl MemoryStorage {
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
