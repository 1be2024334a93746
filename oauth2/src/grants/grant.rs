//! Grants: what a user has allowed a client, the code that says so once, and the refresh tokens that go on saying it.
//!
//! A refresh token has two halves, both secret. The first names the family and stays the same, the second is new each
//! time. Whoever knows the first and shows an old second holds a token that was used before: somebody has a copy. So
//! one row tells reuse from nonsense, however often a token is renewed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::{ClientId, GrantId, SessionId, UserId};
use crate::base::scope::Scope;
use crate::grants::refresh_token::StoredRefreshToken;

/// What a user has allowed a client at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// Who.
    pub user: UserId,
    /// Whom.
    pub client: ClientId,
    /// What.
    pub scope: Scope,
    /// The browser in which it was allowed: signing out there ends it.
    pub session: Option<SessionId>,
    /// When the user last showed who they are.
    pub auth_time: Timestamp,
    /// When.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// The refresh token that counts now.
    pub refresh: Option<StoredRefreshToken>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// What came of showing a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It counts, and the next one has taken its place.
    Rotated(Grant),
    /// It was used before: the grant has been revoked.
    Reused(Grant),
    /// There is no such token any more, or it is another client's.
    Unknown,
}

/// Which grants are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantFilter {
    /// This one.
    Grant(GrantId),
    /// All that were made in this browser.
    Session(SessionId),
    /// All of this user.
    User(UserId),
    /// All of this client.
    Client(ClientId),
    /// All that this user has given this client.
    UserAndClient(UserId, ClientId),
}

impl Grant {
    /// Whether its tokens count.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whether it is among those that are meant.
    pub fn matches(&self, filter: &GrantFilter) -> bool {
        match filter {
            GrantFilter::Grant(id) => self.id == *id,
            GrantFilter::Session(session) => self.session == Some(*session),
            GrantFilter::User(user) => self.user == *user,
            GrantFilter::Client(client) => self.client == *client,
            GrantFilter::UserAndClient(user, client) => self.user == *user && self.client == *client,
        }
    }

    /// Takes it back. Whether it counted until now.
    pub fn revoke(&mut self, now: Timestamp) -> bool {
        let counted = self.revoked_at.is_none();
        self.revoked_at.get_or_insert(now);
        counted
    }

    /// Shows a refresh token of this family: a store calls this in the transaction in which it writes the grant back.
    pub fn rotate(
        &mut self,
        current: &Digest,
        client: &ClientId,
        next: StoredRefreshToken,
        now: Timestamp,
    ) -> RefreshOutcome {
        let Some(refresh) = self.refresh.as_mut() else { return RefreshOutcome::Unknown };
        if self.client != *client || self.revoked_at.is_some() || now >= self.expires_at {
            return RefreshOutcome::Unknown;
        }
        if refresh.key.is_some() && refresh.key != next.key {
            return RefreshOutcome::Unknown;
        }
        if !refresh.current.is(current) {
            self.revoke(now);
            return RefreshOutcome::Reused(self.clone());
        }
        if now >= refresh.expires_at {
            return RefreshOutcome::Unknown;
        }
        *refresh = StoredRefreshToken { expires_at: next.expires_at.min(self.expires_at), ..next };
        RefreshOutcome::Rotated(self.clone())
    }
}
