//! The storage of intents, as [`crate::Idempotency`] needs it.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::idempotency::intent::Intent;
use crate::store_error::StoreError;

/// Durable intents. A write that has returned is durable.
#[async_trait]
pub trait IntentStore: Send + Sync + fmt::Debug {
    /// Stores `intent`, unless one of its key is stored that is not older than `since`.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn record(
        &self,
        intent: &Intent,
        since: Timestamp,
        bounds: IntentBounds,
    ) -> Result<Recorded, StoreError>;

    /// Stores the answer to an intent. `false`: the intent is not stored any more.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn answer(&self, intent: &Intent, answer: Vec<u8>) -> Result<bool, StoreError>;

    /// Deletes an intent that has no answer: its request was refused and has done nothing. `false`: it is not stored any
    /// more, or has an answer.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn withdraw(&self, intent: &Intent) -> Result<bool, StoreError>;

    /// Deletes the oldest intents from before `since`, at most `limit`, and returns how many.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn forget_intents(&self, since: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// The result of [`IntentStore::record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The intent is stored now.
    New,
    /// An intent of this key was stored before.
    Existing(Intent),
    /// The bounds are reached; nothing was stored.
    Full,
}

/// How much is stored at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntentBounds {
    /// Intents, answered or not.
    pub count: u64,
    /// Bytes of their answers.
    pub bytes: u64,
}
