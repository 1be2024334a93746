//! The event log as readers see it: pages from the journal, and a bell that rings when there is more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mgx_protocol::SessionId;
use tokio::sync::watch;

use crate::event::Event;
use crate::journal::{Head, Journal, JournalError};

/// Ordered, gap-free events of every session. Cheap to clone.
///
/// To follow a session: take a [`bell`](Self::bell) first, then read pages until one is empty, then wait for the
/// bell. Who reads slowly misses nothing and slows nobody.
#[derive(Clone, Debug)]
pub struct EventLog {
    journal: Arc<dyn Journal>,
    bells: Arc<Mutex<HashMap<SessionId, watch::Sender<u64>>>>,
}

impl EventLog {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, bells: Arc::default() }
    }

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

    /// Rings (changes) whenever events of the session have been stored; holds the newest number since it was made.
    pub fn bell(&self, session: &SessionId) -> watch::Receiver<u64> {
        let mut bells = self.bells.lock().expect("nothing panics while it holds this lock");
        bells.entry(session.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// The sessions that somebody follows, or did a moment ago.
    pub fn followed(&self) -> Vec<SessionId> {
        let bells = self.bells.lock().expect("nothing panics while it holds this lock");
        bells.keys().cloned().collect()
    }

    /// Rings the bell of a session, whose newest event has the number `seq`; takes it down if nobody listens any more.
    /// Whoever writes events by way of the scheduler need not: this is for those that another process has stored.
    pub fn ring(&self, session: &SessionId, seq: u64) {
        let mut bells = self.bells.lock().expect("nothing panics while it holds this lock");
        let Some(bell) = bells.get(session) else { return };
        if bell.is_closed() {
            bells.remove(session);
        } else {
            bell.send_if_modified(|newest| std::mem::replace(newest, seq.max(*newest)) < seq);
        }
    }
}
