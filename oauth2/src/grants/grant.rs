//! Grants: one authorization of a client by a user, with the tokens issued for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::digest::Digest;
use crate::base::ids::{ClientId, GrantId, SessionId, UserId};
use crate::base::scope::Scope;
use crate::grants::refresh_token::StoredRefreshToken;

/// An authorization of a client by a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The user.
    pub user: UserId,
    /// The client.
    pub client: ClientId,
    /// The scope that the user granted.
    pub scope: Scope,
    /// The browser session in which it was made: signing out there revokes it.
    pub session: Option<SessionId>,
    /// When the user last entered the password.
    pub auth_time: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The valid refresh token, if there is one.
    pub refresh: Option<StoredRefreshToken>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The result of using a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It was valid; the next one has replaced it.
    Rotated(Grant),
    /// It was used before, and may not be used again; the grant has been revoked.
    Reused(Grant),
    /// There is no such token, or it is expired, revoked, bound to another key, or another client's.
    Unknown,
}

/// Selects grants to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantFilter {
    /// One grant.
    Grant(GrantId),
    /// The grants made in a browser session.
    Session(SessionId),
    /// The grants of a user.
    User(UserId),
    /// The grants of a client.
    Client(ClientId),
    /// The grants of a user to a client.
    UserAndClient(UserId, ClientId),
}

impl Grant {
    /// Whether it is neither revoked nor expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whether `filter` selects it.
    pub fn matches(&self, filter: &GrantFilter) -> bool {
        match filter {
            GrantFilter::Grant(id) => self.id == *id,
            GrantFilter::Session(session) => self.session == Some(*session),
            GrantFilter::User(user) => self.user == *user,
            GrantFilter::Client(client) => self.client == *client,
            GrantFilter::UserAndClient(user, client) => self.user == *user && self.client == *client,
        }
    }

    /// Revokes it. Whether it was not revoked before.
    pub fn revoke(&mut self, now: Timestamp) -> bool {
        let counted = self.revoked_at.is_none();
        self.revoked_at.get_or_insert(now);
        counted
    }

    /// Uses a refresh token of this family and replaces it by `next`; also one that was used before, if it may be
    /// ([`StoredRefreshToken::replaced`]). A storage calls this in the transaction that
    /// writes the grant back.
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
        let replaced = if refresh.is_current(current) {
            next.replaced
        } else if let Some(replaced) = refresh.repeats(current, now) {
            // the time in which it may be used again does not begin anew
            Some(replaced)
        } else {
            self.revoke(now);
            return RefreshOutcome::Reused(self.clone());
        };
        if now >= refresh.expires_at {
            return RefreshOutcome::Unknown;
        }
        let expires_at = next.expires_at.min(self.expires_at);
        *refresh = StoredRefreshToken { expires_at, replaced, ..next };
        RefreshOutcome::Rotated(self.clone())
    }
}
