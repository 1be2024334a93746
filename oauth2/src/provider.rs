//! The provider: its parts, its maintenance, revocation and the audit log.

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
use crate::clients::public_origins::OriginCache;
use crate::grants::grant::GrantFilter;
use crate::provider::settings::{BadSettings, Settings};
use crate::storage::{Storage, StorageError};
use crate::tokens::dpop::ProofChecker;
use crate::tokens::key_file::KeyError;
use crate::tokens::revoked_tokens::RevokedTokens;
use crate::tokens::signing_keys::SigningKeys;
use crate::tokens::verifier::Verifier;

/// An OAuth 2.1 authorization server and OpenID provider. Its methods are in the folders `administration`, `sessions`
/// and `flows`; [`crate::router`] serves them over HTTP.
#[derive(Debug)]
pub struct Provider {
    pub(crate) settings: Settings,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) clock: Clock,
    pub(crate) random: RandomSource,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    /// Limits how many records requests without authentication cause.
    pub(crate) unauthenticated: Throttle,
    /// Whose pages may read the answers of the endpoints for clients.
    pub(crate) origins: OriginCache,
    pub(crate) revoked: RevokedTokens,
    pub(crate) proofs: ProofChecker,
    /// Verifies the provider's own access tokens, for any audience.
    pub(crate) own_tokens: Verifier,
}

/// Why the provider does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is not permitted.
    #[error(transparent)]
    Settings(#[from] BadSettings),
    /// A setting is not permitted.
    #[error(transparent)]
    Cost(#[from] BadCost),
    /// The storage does not respond.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The circumstances of an event, for the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AuditContext<'a> {
    pub(crate) user: Option<UserId>,
    pub(crate) client: Option<&'a ClientId>,
    /// The name of the caller who acts through the API, if the event was not caused by user or client.
    pub(crate) by: Option<&'a str>,
    pub(crate) peer: Option<IpAddr>,
}

/// The most records per address and minute that requests without authentication cause.
const UNAUTHENTICATED_AUDITS_PER_MINUTE: u32 = 60;

/// The time by which a revocation is kept longer than an access token lives, for tokens that are being issued
/// meanwhile.
const REVOCATION_MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// The most expired records of each kind that one maintenance deletes.
const MAX_DELETED_PER_SWEEP: usize = 1000;

impl Provider {
    /// A provider. Loads the revoked access tokens from `storage`.
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

    /// [`Self::new`] without a check of the settings, for tests with a cheap password hash.
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
            keys: Arc::new(keys),
            clock,
            random,
            passwords,
            throttle,
            unauthenticated,
            origins: OriginCache::default(),
            revoked,
            proofs: ProofChecker::default(),
            own_tokens,
        })
    }

    /// A verifier of access tokens for `audience` in this process, which sees rotations and revocations at once.
    pub fn verifier(&self, audience: &str) -> Verifier {
        let public = self.keys.public().clone();
        let audience = Some(audience.to_owned());
        Verifier::new(&self.settings.issuer, audience, public, self.revoked.clone(), self.clock.clone())
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Deletes expired records, and rotates the signing keys if they are old. The caller runs it about every minute.
    ///
    /// # Errors
    /// The storage or the key file cannot be written. The next run makes up for it.
    pub async fn maintain(&self) -> Result<(), MaintenanceError> {
        let now = self.clock.now();
        self.storage.delete_expired(now, MAX_DELETED_PER_SWEEP).await?;
        if self.keys.is_old(now) {
            self.rotate_keys(true).await?;
        }
        Ok(())
    }

    /// Loads what other processes with the same storage and key file have changed: revoked tokens, and a new signing
    /// key. The caller runs it about every second where there are other processes.
    ///
    /// # Errors
    /// The storage or the key file cannot be read. The next run makes up for it.
    pub async fn catch_up(&self) -> Result<(), MaintenanceError> {
        let now = self.clock.now();
        self.revoked.add(self.storage.revoked_tokens(now).await?, now);
        Ok(self.keys.catch_up()?)
    }

    /// Rotates the signing keys ([`SigningKeys::rotate`]) and returns the new `kid`.
    ///
    /// # Errors
    /// The key file cannot be written; the old keys stay in use.
    pub async fn rotate_keys(&self, keep_previous: bool) -> Result<String, KeyError> {
        let (keys, now) = (Arc::clone(&self.keys), self.clock.now());
        let rotated = tokio::task::spawn_blocking(move || keys.rotate(now, keep_previous)).await;
        let kid = rotated.expect("a rotation does not panic, and is not aborted")?;
        self.record(AuditEvent::KeyRotated { kid: kid.clone() }, AuditContext::default()).await;
        Ok(kid)
    }

    /// Revokes grants with all their tokens. How many were valid.
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

    /// Revokes access tokens by `jti` or by grant: at once in this process, and in the storage for the others.
    pub(crate) async fn revoke_token_ids(&self, ids: &[Uuid]) -> Result<(), StorageError> {
        if ids.is_empty() {
            return Ok(());
        }
        let (now, until) =
            (self.clock.now(), self.time_after(self.settings.access_token_lifetime + REVOCATION_MARGIN));
        self.revoked.add(ids.iter().map(|id| (*id, until)), now);
        self.storage.revoke_tokens(ids, until).await
    }

    /// Adds an entry to the audit log. If the storage fails, the entry goes to the operator's log.
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
            tracing::warn!(%error, ?entry, "cannot write to the audit log");
        }
    }

    /// The time `time` after now.
    pub(crate) fn time_after(&self, time: SignedDuration) -> Timestamp {
        self.clock.now().saturating_add(time).unwrap_or(Timestamp::MAX)
    }
}

/// Why maintenance or catching up failed. The next run makes up for it.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// The storage does not respond.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The key file cannot be read or written; the old key stays in use.
    #[error(transparent)]
    Key(#[from] KeyError),
}
