//! The provider: everything it holds, and what it does by itself from time to time.

pub(crate) mod settings;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::accounts::audit::{AuditEntry, AuditEvent};
use crate::accounts::hasher::BadCost;
use crate::accounts::passwords::Passwords;
use crate::accounts::throttle::{Throttle, ThrottleLimits};
use crate::base::clock::Clock;
use crate::base::ids::{ClientId, UserId};
use crate::base::random::RandomSource;
use crate::grants::grant::GrantFilter;
use crate::provider::settings::{BadSettings, Settings};
use crate::storage::{Storage, StorageError};
use crate::tokens::dpop::ProofChecker;
use crate::tokens::key_file::KeyError;
use crate::tokens::revoked_tokens::RevokedTokens;
use crate::tokens::signing_keys::SigningKeys;
use crate::tokens::verifier::Verifier;

/// An OAuth 2.1 authorization server and OpenID provider. What it does is in the files of its flows: `authorize`,
/// `token`, `device_flow`, `sign_in`, `tokens_of`, `admin`; [`crate::router`] puts HTTP around it.
#[derive(Debug)]
pub struct Provider {
    pub(crate) settings: Settings,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) keys: SigningKeys,
    pub(crate) clock: Clock,
    pub(crate) random: RandomSource,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    /// Bounds what people whom nobody knows make us write down.
    pub(crate) unauthenticated: Throttle,
    pub(crate) revoked: RevokedTokens,
    pub(crate) proofs: ProofChecker,
    /// Verifies our own access tokens, whoever they are for.
    pub(crate) own_tokens: Verifier,
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
pub(crate) struct AuditContext<'a> {
    pub(crate) user: Option<UserId>,
    pub(crate) client: Option<&'a ClientId>,
    /// In whose name, if it is somebody else's.
    pub(crate) by: Option<&'a str>,
    pub(crate) peer: Option<IpAddr>,
}

/// How much from one address in a minute is written down for people whom nobody knows.
const UNAUTHENTICATED_AUDITS_PER_MINUTE: u32 = 60;

/// By how much a token that is being made may outlive the moment at which its grant was revoked.
const REVOCATION_MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// How many of each kind one sweep forgets.
const MAX_DELETED_PER_SWEEP: usize = 1000;

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
        random: RandomSource,
    ) -> Result<Self, StartError> {
        settings.check()?;
        Self::unchecked(settings, storage, keys, clock, random).await
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
        random: RandomSource,
    ) -> Result<Self, StartError> {
        Self::unchecked(settings, storage, keys, clock, random).await
    }

    async fn unchecked(
        settings: Settings,
        storage: Arc<dyn Storage>,
        keys: SigningKeys,
        clock: Clock,
        random: RandomSource,
    ) -> Result<Self, StartError> {
        let passwords = Passwords::new(
            settings.password_cost,
            settings.password_rules,
            settings.hash_concurrency,
            random.clone(),
        )?;
        let throttle = Throttle::new(settings.throttle);
        let unauthenticated = Throttle::new(ThrottleLimits {
            failures_before_delay: u32::MAX,
            failures_before_lock: u32::MAX,
            failures_per_address_per_minute: UNAUTHENTICATED_AUDITS_PER_MINUTE,
            ..settings.throttle
        });
        let (revoked, now) = (RevokedTokens::default(), clock.now());
        revoked.add(storage.revoked_tokens(now).await?, now);
        let public = keys.public().clone();
        let own_tokens = Verifier::new(&settings.issuer, None, public, revoked.clone(), clock.clone());
        Ok(Self {
            settings,
            storage,
            keys,
            clock,
            random,
            passwords,
            throttle,
            unauthenticated,
            revoked,
            proofs: ProofChecker::default(),
            own_tokens,
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
    pub async fn maintain(&self) -> Result<(), MaintenanceError> {
        let now = self.clock.now();
        self.storage.delete_expired(now, MAX_DELETED_PER_SWEEP).await?;
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
    pub async fn catch_up(&self) -> Result<(), MaintenanceError> {
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
        self.record(AuditEvent::KeyRotated { kid: kid.clone() }, AuditContext::default()).await;
        Ok(kid)
    }

    /// Takes grants back, with every token of theirs. How many counted until now.
    pub(crate) async fn revoke(
        &self,
        whose: &GrantFilter,
        context: AuditContext<'_>,
    ) -> Result<usize, StorageError> {
        let grants = self.storage.revoke_grants(whose, self.clock.now()).await?;
        let ids: Vec<Uuid> = grants.iter().map(|grant| grant.0).collect();
        self.revoke_token_ids(&ids).await?;
        if !ids.is_empty() {
            self.record(AuditEvent::Revoked { grants: ids.len() }, context).await;
        }
        Ok(ids.len())
    }

    /// Makes access tokens, or all of a grant, not count any more: at once here, and in the store for the next start.
    pub(crate) async fn revoke_token_ids(&self, ids: &[Uuid]) -> Result<(), StorageError> {
        if ids.is_empty() {
            return Ok(());
        }
        let (now, until) =
            (self.clock.now(), self.after(self.settings.access_token_lifetime + REVOCATION_MARGIN));
        self.revoked.add(ids.iter().map(|id| (*id, until)), now);
        self.storage.revoke_tokens(ids, until).await
    }

    /// Writes into the audit log. What cannot be written there is told to the operator's log instead: it happened.
    pub(crate) async fn record(&self, event: AuditEvent, context: AuditContext<'_>) {
        let AuditContext { user, client, by, peer } = context;
        let entry = AuditEntry {
            at: self.clock.now(),
            event,
            user,
            client: client.cloned(),
            by: by.map(str::to_owned),
            peer,
        };
        if let Err(error) = self.storage.add_audit_entry(&entry).await {
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
pub enum MaintenanceError {
    /// Nothing was forgotten, or learned.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The old key goes on signing.
    #[error(transparent)]
    Key(#[from] KeyError),
}
