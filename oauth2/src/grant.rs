//! Grants: what a user has allowed a client, the code that says so once, and the refresh tokens that go on saying it.
//!
//! A refresh token has two halves, both secret. The first names the family and stays the same, the second is new each
//! time. Whoever knows the first and shows an old second holds a token that was used before: somebody has a copy. So
//! one row tells reuse from nonsense, however often a token is renewed.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, GrantId, SessionId, UserId};
use crate::scope::Scope;
use crate::secret::{Chance, Digest};

/// What a refresh token begins with.
pub const REFRESH_PREFIX: &str = "mgx_rt_";

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
    pub refresh: Option<Refresh>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

/// The refresh token that counts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Hash of the half that stays.
    pub family: Digest,
    /// Hash of the half that changes.
    pub turn: Digest,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Hash of the thumbprint of the key that it counts with, if it is bound to one (RFC 9449 section 5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
}

/// An authorization code: good once, for a minute at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Hash of the code.
    pub digest: Digest,
    /// What it says.
    pub grant: GrantId,
    /// The redirect URI of the request, as it was given.
    pub redirect_uri: String,
    /// PKCE: base64url of SHA-256 of the verifier (RFC 7636 section 4.2).
    pub challenge: String,
    /// For the id token.
    pub nonce: Option<String>,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Whether it has been.
    pub used: bool,
}

/// What came of showing a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeUse {
    /// It counts, and never again.
    First(Code, Grant),
    /// It was used before: its grant has been revoked.
    Replayed(Grant),
    /// There is no such code any more.
    Unknown,
}

/// What came of showing a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It counts, and the next one has taken its place.
    Turned(Grant),
    /// It was used before: the grant has been revoked.
    Reused(Grant),
    /// There is no such token any more, or it is another client's.
    Unknown,
}

/// Which grants are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This one.
    Grant(GrantId),
    /// All that were made in this browser.
    Session(SessionId),
    /// All of this user.
    User(UserId),
    /// All of this client.
    Client(ClientId),
    /// All that this user has given this client.
    UserAt(UserId, ClientId),
}

impl Grant {
    /// Whether its tokens count.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whether it is among those that are meant.
    pub fn is_of(&self, whose: &Whose) -> bool {
        match whose {
            Whose::Grant(id) => self.id == *id,
            Whose::Session(session) => self.session == Some(*session),
            Whose::User(user) => self.user == *user,
            Whose::Client(client) => self.client == *client,
            Whose::UserAt(user, client) => self.user == *user && self.client == *client,
        }
    }

    /// Takes it back. Whether it counted until now.
    pub fn revoke(&mut self, now: Timestamp) -> bool {
        let counted = self.revoked_at.is_none();
        self.revoked_at.get_or_insert(now);
        counted
    }

    /// Shows a refresh token of this family: a store calls this in the transaction in which it writes the grant back.
    pub fn turn(&mut self, turn: &Digest, client: &ClientId, next: Refresh, now: Timestamp) -> Turn {
        let Some(refresh) = self.refresh.as_mut() else { return Turn::Unknown };
        if self.client != *client || self.revoked_at.is_some() || now >= self.expires_at {
            return Turn::Unknown;
        }
        if refresh.key.is_some() && refresh.key != next.key {
            return Turn::Unknown;
        }
        if !refresh.turn.is(turn) {
            self.revoke(now);
            return Turn::Reused(self.clone());
        }
        if now >= refresh.expires_at {
            return Turn::Unknown;
        }
        *refresh = Refresh { expires_at: next.expires_at.min(self.expires_at), ..next };
        Turn::Turned(self.clone())
    }
}

impl Code {
    /// Shows the code: a store calls this in the transaction in which it writes both back.
    pub fn show(&mut self, grant: &mut Grant, now: Timestamp) -> CodeUse {
        if self.used {
            grant.revoke(now);
            return CodeUse::Replayed(grant.clone());
        }
        if now >= self.expires_at || !grant.is_live(now) {
            return CodeUse::Unknown;
        }
        self.used = true;
        CodeUse::First(self.clone(), grant.clone())
    }
}

/// A refresh token as a client holds it.
#[derive(Debug)]
pub(crate) struct RefreshToken {
    family: SecretString,
    turn: SecretString,
}

impl RefreshToken {
    /// The first one of a family.
    pub(crate) fn first(chance: &Chance) -> Self {
        Self { family: chance.text().into(), turn: chance.text().into() }
    }

    /// The next one of this family.
    pub(crate) fn next(&self, chance: &Chance) -> Self {
        Self { family: self.family.clone(), turn: chance.text().into() }
    }

    /// What a client has sent; `None` if it cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (family, turn) = text.strip_prefix(REFRESH_PREFIX)?.split_once('.')?;
        let fits = |half: &str| half.len() == 43 && half.is_ascii();
        (fits(family) && fits(turn)).then(|| Self { family: family.into(), turn: turn.into() })
    }

    /// What the client is given.
    pub(crate) fn text(&self) -> String {
        format!("{REFRESH_PREFIX}{}.{}", self.family.expose_secret(), self.turn.expose_secret())
    }

    pub(crate) fn family(&self) -> Digest {
        Digest::of(self.family.expose_secret())
    }

    pub(crate) fn turn(&self) -> Digest {
        Digest::of(self.turn.expose_secret())
    }

    /// What is stored of it.
    pub(crate) fn stored(&self, expires_at: Timestamp, key: Option<Digest>) -> Refresh {
        Refresh { family: self.family(), turn: self.turn(), expires_at, key }
    }
}
