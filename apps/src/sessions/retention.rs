//! Retention: a background task removes the events of sessions that ended long enough ago.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::sessions::archive::{Archive, Trimmed};
use crate::store_error::StoreError;

/// How many events one step removes, and the pause after it, so that other writers do not wait long.
const EVENTS_PER_STEP: usize = 1000;
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// The pause between two rounds over all sessions, unless events are kept for less.
const ROUND_PAUSE: Duration = Duration::from_mins(10);

/// Removes old events of finished sessions.
#[derive(Debug)]
pub struct Retention {
    archive: Arc<dyn Archive>,
    keep: Duration,
}

impl Retention {
    /// Removes the events of a session `keep` after its last one; `None` if `keep` is zero, which means for ever.
    pub fn new(archive: Arc<dyn Archive>, keep: Duration) -> Option<Self> {
        (!keep.is_zero()).then_some(Self { archive, keep })
    }

    /// Removes old events, round by round, until `closing`.
    pub async fn sweep(self, closing: CancellationToken) {
        let rounds = async {
            loop {
                match self.round(Timestamp::now()).await {
                    Ok(0) => {}
                    Ok(events) => info!(events, "removed old events"),
                    Err(error) => warn!(%error, "cannot remove old events; trying again later"),
                }
                sleep(ROUND_PAUSE.min(self.keep)).await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = rounds => {}
        }
    }

    /// Examines every session once, and returns how many events were removed.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn round(&self, now: Timestamp) -> Result<usize, StoreError> {
        let before = now.checked_sub(self.keep).unwrap_or(Timestamp::MIN);
        let (mut from, mut removed) = (0, 0);
        loop {
            let Trimmed { events, next } = self.archive.trim(before, from, EVENTS_PER_STEP).await?;
            removed += events;
            match next {
                Some(next) => from = next,
                None => return Ok(removed),
            }
            sleep(STEP_PAUSE).await;
        }
    }
}
