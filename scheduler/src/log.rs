//! The event log as readers see it: pages from the journal, and a bell that rings when there is more.

use std::sync::Arc;

use mgx_agent_runner::SessionId;
use tokio::sync::watch;

use crate::event::Event;
use crate::journal::{Head, Journal, JournalError};

/// Ordered, gap-free events of every session.
///
/// To follow a session: take a [`bell`](Self::bell) first, then read pages until one is empty, then wait for the
/// bell. Who reads slowly misses nothing and slows nobody.
#[derive(Clone, Debug)]
pub struct EventLog {
    journal: Arc<dyn Journal>,
}

impl EventLog {
    /// Events after number `after`, at most `limit`, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn page(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.journal.events(session, after, limit).await
    }

    /// The newest event's number, and how many jobs are live.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        self.journal.head(session).await
    }

    /// Rings (changes) whenever events of the session have been published; holds the newest number seen.
    pub fn bell(&self, _session: &SessionId) -> watch::Receiver<u64> {
        unimplemented!()
    }
}
