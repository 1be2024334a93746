//! The event log as its readers see it: pages from the journal, and a channel for each session that says when there
//! are more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mgx_protocol::SessionId;
use tokio::sync::watch;

use super::{Head, Journal, JournalError};
use crate::events::event::Event;

/// Ordered, gap-free events of every session. Cheap to clone.
///
/// To follow a session: [`subscribe`](Self::subscribe) first, then read pages until one is empty, then wait until the
/// receiver changes. A slow reader misses no event and delays no writer.
#[derive(Clone, Debug)]
pub struct EventLog {
    journal: Arc<dyn Journal>,
    newest: Arc<Mutex<HashMap<SessionId, watch::Sender<u64>>>>,
}

impl EventLog {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, newest: Arc::default() }
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

    /// A receiver that changes whenever events of the session have been stored; its value is the newest number that
    /// was notified, 0 before the first.
    pub fn subscribe(&self, session: &SessionId) -> watch::Receiver<u64> {
        let mut newest = self.newest.lock().expect("nothing panics while it holds this lock");
        newest.entry(session.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// The sessions that have subscribers, or had some until a moment ago.
    pub fn subscribed_sessions(&self) -> Vec<SessionId> {
        let newest = self.newest.lock().expect("nothing panics while it holds this lock");
        newest.keys().cloned().collect()
    }

    /// Notifies the subscribers of a session, whose newest event has the number `seq`. The scheduler calls it for the
    /// events that it writes; other code calls it for those that another process has stored.
    pub fn notify(&self, session: &SessionId, seq: u64) {
        let mut newest = self.newest.lock().expect("nothing panics while it holds this lock");
        let Some(sender) = newest.get(session) else { return };
        if sender.is_closed() {
            newest.remove(session);
        } else {
            sender.send_if_modified(|known| std::mem::replace(known, seq.max(*known)) < seq);
        }
    }
}
