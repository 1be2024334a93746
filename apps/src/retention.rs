//! Forgetting: the events of sessions that have been over for long enough, a few at a time, in the background.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::archive::{Archive, Trimmed};
use crate::session::StoreError;

/// How many events go in one step, so that nobody who writes meanwhile has to wait long, and how long the pause between
/// two steps is.
const STEP: usize = 1000;
const BREATH: Duration = Duration::from_millis(50);

/// How often all sessions are looked at, if what is kept is not kept for less.
const ROUND: Duration = Duration::from_mins(10);

/// Forgets the events of sessions that are over.
#[derive(Debug)]
pub struct Retention {
    archive: Arc<dyn Archive>,
    keep: Duration,
}

impl Retention {
    /// Keeps events for so long after a session's last; `None` if that is for ever (no time at all).
    pub fn of(archive: Arc<dyn Archive>, keep: Duration) -> Option<Self> {
        (!keep.is_zero()).then_some(Self { archive, keep })
    }

    /// Forgets until `closing`.
    pub async fn sweep(self, closing: CancellationToken) {
        let rounds = async {
            loop {
                match self.round(Timestamp::now()).await {
                    Ok(0) => {}
                    Ok(events) => info!(events, "events that were kept long enough are removed"),
                    Err(error) => warn!(%error, "cannot remove old events; trying again later"),
                }
                sleep(ROUND.min(self.keep)).await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = rounds => {}
        }
    }

    /// Looks at every session once. How many events are gone.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn round(&self, now: Timestamp) -> Result<usize, StoreError> {
        let before = now.checked_sub(self.keep).unwrap_or(Timestamp::MIN);
        let (mut from, mut gone) = (0, 0);
        loop {
            let Trimmed { events, next } = self.archive.trim(before, from, STEP).await?;
            gone += events;
            match next {
                Some(next) => from = next,
                None => return Ok(gone),
            }
            sleep(BREATH).await;
        }
    }
}
