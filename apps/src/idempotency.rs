//! Idempotency: a request that is sent twice with the same key is carried out once.
//!
//! In this order, each step durable before the next begins:
//!
//! 1. [`Idempotency::begin`] stores the key with a random seed, from which the ids of everything that the request
//!    creates are derived;
//! 2. the caller carries out the request;
//! 3. [`Idempotency::keep_answer`] stores the answer, or [`Idempotency::give_back`] deletes the key of a request that
//!    was refused;
//! 4. the caller sends the answer.
//!
//! If the process stops in between, the same request later finds the seed and creates the same job and the same
//! session, or finds that they exist; it never creates others.

pub(crate) mod intent;
pub(crate) mod intent_store;
pub(crate) mod key_lock;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use crate::idempotency::key_lock::KeyLock;

use crate::idempotency::intent::{Intent, IntentKey};
use crate::idempotency::intent_store::{IntentBounds, IntentStore, Recorded};
use crate::idempotency::key_lock::KeyLocks;
use crate::store_error::StoreError;

/// How long a key counts.
const KEY_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// How often expired keys are deleted, and how many in one write.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
const SWEEP_BATCH: usize = 10_000;

/// Stores which requests were made with which key, and their answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Idempotency {
    store: Arc<dyn IntentStore>,
    locks: KeyLocks,
}

/// What to do with a request that has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Carry it out, with the ids of the intent.
    Proceed {
        /// The intent of the request.
        intent: Intent,
        /// Whether an earlier request, perhaps in an earlier process, may have carried it out already, wholly or in
        /// part.
        resumed: bool,
    },
    /// It was carried out before: send this stored answer.
    Replay(Vec<u8>),
}

/// Why a request with a key cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key was used for another request.
    #[error("this key came with another request before")]
    Mismatch,
    /// No more keys can be stored; see [`Idempotency::BOUNDS`].
    #[error("no more idempotency keys can be stored")]
    Full,
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes")]
    NoRandomness,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Idempotency {
    /// What is stored at most: a million keys, one GiB of answers.
    pub const BOUNDS: IntentBounds = IntentBounds { count: 1_000_000, bytes: 1 << 30 };

    /// How long a caller should wait after [`IdempotencyError::Full`].
    pub const RETRY_WHEN_FULL: Duration = SWEEP_INTERVAL;

    /// Stores keys and answers in `store`.
    pub fn new(store: Arc<dyn IntentStore>) -> Self {
        Self { store, locks: KeyLocks::default() }
    }

    /// Waits until no other request holds `key`. Hold the lock from before [`Idempotency::begin`] until after
    /// [`Idempotency::keep_answer`] or [`Idempotency::give_back`].
    pub async fn lock(&self, key: IntentKey) -> KeyLock {
        self.locks.lock(key).await
    }

    /// Stores the intent of a request, or finds the one that an earlier request stored. `fingerprint` is a hash of the
    /// request: the same key for another request is refused.
    ///
    /// # Errors
    /// [`IdempotencyError`].
    pub async fn begin(&self, key: IntentKey, fingerprint: [u8; 32]) -> Result<Begun, IdempotencyError> {
        let intent = Intent::new(key, fingerprint).map_err(|_| IdempotencyError::NoRandomness)?;
        match self.store.record(&intent, intent.at - KEY_LIFETIME, Self::BOUNDS).await? {
            Recorded::New => Ok(Begun::Proceed { intent, resumed: false }),
            Recorded::Full => Err(IdempotencyError::Full),
            Recorded::Existing(stored) if stored.fingerprint != fingerprint => {
                Err(IdempotencyError::Mismatch)
            }
            Recorded::Existing(mut stored) => Ok(match stored.answer.take() {
                Some(answer) => Begun::Replay(answer),
                None => Begun::Proceed { intent: stored, resumed: true },
            }),
        }
    }

    /// Stores the answer to a request. If that fails, the failure is logged and nothing is undone: the next request
    /// with the key finds by their ids what this one created.
    pub async fn keep_answer(&self, intent: &Intent, answer: Vec<u8>) {
        match self.store.answer(intent, answer).await {
            Ok(true) => {}
            Ok(false) => warn!("an idempotency key expired while its request was answered"),
            Err(error) => warn!(%error, "cannot store the answer to an idempotent request"),
        }
    }

    /// Gives the key of a request back that was refused and has done nothing: the next request with it may be another
    /// one. If that fails, the failure is logged, and the key stays with the request that was refused.
    pub async fn give_back(&self, intent: &Intent) {
        if let Err(error) = self.store.withdraw(intent).await {
            warn!(%error, "cannot give back the idempotency key of a refused request");
        }
    }

    /// Deletes expired keys, until `closing`.
    pub async fn sweep(self, closing: CancellationToken) {
        loop {
            match self.store.forget_intents(Timestamp::now() - KEY_LIFETIME, SWEEP_BATCH).await {
                Ok(SWEEP_BATCH) => continue,
                Ok(_) => {}
                Err(error) => warn!(%error, "cannot delete expired idempotency keys; trying again later"),
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
            }
        }
    }
}
