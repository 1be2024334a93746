//! The provider: everything it holds, and what it does by itself from time to time.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::audit::{AuditEntry, AuditEvent};
use crate::clock::Clock;
use crate::dpop::Proofs;
use crate::grant::Whose;
use crate::ids::{ClientId, UserId};
use crate::passwords::{BadCost, Passwords};
use crate::revoked::Revoked;
use crate::secret::Chance;
use crate::settings::{BadSettings, Settings};
use crate::signing::{KeyError, SigningKeys};
use crate::storage::{Storage, StorageError};
use crate::throttle::{Limits, Throttle};
use crate::verifier::Verifier;

/// An OAuth 2.1 authorization server and OpenID provider. What it does is in the files of its flows: `authorize`,
/// `token`, `device_flow`, `sign_in`, `tokens_of`, `admin`; [`crate::router`] puts HTTP around it.
#[derive(Debug)]
pub struct Provider {
    pub(crate) settings: Settings,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) keys: SigningKeys,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    /// Bounds what people whom nobody knows make us write down.
    pub(crate) strangers: Throttle,
    pub(crate) revoked: Revoked,
    pub(crate) proofs: Proofs,
    /// Verifies our own access tokens, whoever they are for.
    pub(crate) ours: Verifier,
}

/// Why the provider does not start. The operator acts.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was chosen may not be.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// What was chosen may not be.
    #[error(transparent)]
    Cost(#[from] BadCost),
    /// The store does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Who does something, for the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct About<'a> {
    pub(crate) user: Option<UserId>,
    pub(crate) client: Option<&'a ClientId>,
    /// In whose name, if it is somebody else's.
    pub(crate) by: Option<&'a str>,
    pub(crate) peer: Option<IpAddr>,
}

/// How much from one address in a minute is written down for people whom nobody knows.
const STRANGERS: u32 = 60;

/// By how much a token that is being made may outlive the moment at which its grant was revoked.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

/// How many of each kind one sweep forgets.
const SWEPT: usize = 1000;

impl Provider {
    /// A provider. Reads from `storage` which access tokens do not count.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn new(
        settings: Settings,
        storage: Arc<dyn Storage>,
        keys: SigningKeys,
        clock: Clock,
        chance: Chance,
    ) -> Result<Self, StartError> {
        settings.check()?;
        Self::unchecked(settings, storage, keys, clock, chance).await
    }

    /// The same without a look at the settings, for tests that cannot wait for real passwords.
    ///
    /// # Errors
    /// [`StartError`].
    #[cfg(feature = "testing")]
    pub async fn for_tests(
        settings: Settings,
        storage: Arc<dyn Storage>,
        keys: SigningKeys,
        clock: Clock,
        chance: Chance,
    ) -> Result<Self, StartError> {
        Self::unchecked(settings, storage, keys, clock, chance).await
    }

    async fn unchecked(
        settings: Settings,
        storage: Arc<dyn Storage>,
        keys: SigningKeys,
        clock: Clock,
        chance: Chance,
    ) -> Result<Self, StartError> {
        let passwords = Passwords::new(settings.cost, settings.rules, settings.cores, chance.clone())?;
        let throttle = Throttle::new(settings.limits);
        let strangers = Throttle::new(Limits {
            at_once: u32::MAX,
            in_a_row: u32::MAX,
            per_address: STRANGERS,
            ..settings.limits
        });
        let (revoked, now) = (Revoked::default(), clock.now());
        revoked.add(storage.revoked_tokens(now).await?, now);
        let public = keys.public().clone();
        let ours = Verifier::new(&settings.issuer, None, public, revoked.clone(), clock.clone());
        Ok(Self {
            settings,
            storage,
            keys,
            clock,
            chance,
            passwords,
            throttle,
            strangers,
            revoked,
            proofs: Proofs::default(),
            ours,
        })
    }

    /// A verifier of access tokens for `audience`, in this process: it sees rotations and revocations at once.
    pub fn verifier(&self, audience: &str) -> Verifier {
        let public = self.keys.public().clone();
        let audience = Some(audience.to_owned());
        Verifier::new(&self.settings.issuer, audience, public, self.revoked.clone(), self.clock.clone())
    }

    /// What was chosen.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Forgets what has ended, and replaces a signing key that has grown old. To be called every minute or so.
    ///
    /// # Errors
    /// The store or the key file cannot be written; the next time will do.
    pub async fn tend(&self) -> Result<(), TendError> {
        let now = self.clock.now();
        self.storage.sweep(now, SWEPT).await?;
        if self.keys.is_old(now) {
            self.rotate_keys(true).await?;
        }
        Ok(())
    }

    /// Learns what other processes with the same storage and the same key file have done since: tokens that do not count
    /// any more, and a new key. To be called every second or so where there are any.
    ///
    /// # Errors
    /// The store or the key file cannot be read; the next time will do.
    pub async fn catch_up(&self) -> Result<(), TendError> {
        let now = self.clock.now();
        self.revoked.add(self.storage.revoked_tokens(now).await?, now);
        Ok(self.keys.catch_up()?)
    }

    /// Signs with a new key from now on; the old one goes on verifying for an hour, or not at all if somebody may
    /// have it.
    ///
    /// # Errors
    /// The key file cannot be written: the old key goes on signing.
    pub async fn rotate_keys(&self, trust_the_old: bool) -> Result<String, KeyError> {
        let kid = self.keys.rotate(self.clock.now(), trust_the_old)?;
        self.note(AuditEvent::KeyRotated { kid: kid.clone() }, About::default()).await;
        Ok(kid)
    }

    /// Takes grants back, with every token of theirs. How many counted until now.
    pub(crate) async fn revoke(&self, whose: &Whose, about: About<'_>) -> Result<usize, StorageError> {
        let grants = self.storage.revoke(whose, self.clock.now()).await?;
        let ids: Vec<Uuid> = grants.iter().map(|grant| grant.0).collect();
        self.cut(&ids).await?;
        if !ids.is_empty() {
            self.note(AuditEvent::Revoked { grants: ids.len() }, about).await;
        }
        Ok(ids.len())
    }

    /// Makes access tokens, or all of a grant, not count any more: at once here, and in the store for the next start.
    pub(crate) async fn cut(&self, ids: &[Uuid]) -> Result<(), StorageError> {
        if ids.is_empty() {
            return Ok(());
        }
        let (now, until) = (self.clock.now(), self.after(self.settings.access + SLACK));
        self.revoked.add(ids.iter().map(|id| (*id, until)), now);
        self.storage.revoke_tokens(ids, until).await
    }

    /// Writes into the audit log. What cannot be written there is told to the operator's log instead: it happened.
    pub(crate) async fn note(&self, event: AuditEvent, about: About<'_>) {
        let About { user, client, by, peer } = about;
        let entry = AuditEntry {
            at: self.clock.now(),
            event,
            user,
            client: client.cloned(),
            by: by.map(str::to_owned),
            peer,
        };
        if let Err(error) = self.storage.audit(&entry).await {
            tracing::warn!(%error, ?entry, "not in the audit log");
        }
    }

    /// The moment so long after now.
    pub(crate) fn after(&self, time: SignedDuration) -> Timestamp {
        self.clock.now().saturating_add(time).unwrap_or(Timestamp::MAX)
    }
}

/// What could not be tended, or learned. The next time will do.
#[derive(Debug, thiserror::Error)]
pub enum TendError {
    /// Nothing was forgotten, or learned.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The old key goes on signing.
    #[error(transparent)]
    Key(#[from] KeyError),
}
