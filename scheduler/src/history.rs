//! How much a session's log may hold. What agents say beyond that is acknowledged and not stored, and one event in its
//! place says so; what the platform says, `finish` above all, is always stored.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mgx_protocol::{EventKind, SessionId};
use serde_json::{Map, Value, json};

use crate::event::NewEvent;

/// The most that a session's log may hold of what agents say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimit {
    /// Events.
    pub events: u64,
    /// Bytes of their data, as JSON.
    pub bytes: u64,
}

/// How much a session's log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Events.
    pub events: u64,
    /// Bytes of their data, as JSON.
    pub bytes: u64,
}

/// The logs that are being written: the jobs of a session fill the same one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories(Arc<Mutex<HashMap<SessionId, Weak<History>>>>);

/// One log while somebody writes it.
#[derive(Debug)]
pub(crate) struct History {
    size: Mutex<HistorySize>,
    session: SessionId,
    all: Histories,
}

/// What one run of a job may still say.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    history: Option<Arc<History>>,
    /// It has said too much already.
    truncated: bool,
}

/// An event of an agent, and how many bytes its data has.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) event: NewEvent,
    pub(crate) bytes: u64,
}

impl Histories {
    /// The log of `session`, if somebody writes it now.
    pub(crate) fn find(&self, session: &SessionId) -> Option<Arc<History>> {
        self.lock().get(session)?.upgrade()
    }

    /// The log of `session`, which has this `size` unless somebody has begun to write it meanwhile.
    pub(crate) fn open(&self, session: &SessionId, size: HistorySize) -> Arc<History> {
        let mut all = self.lock();
        if let Some(history) = all.get(session).and_then(Weak::upgrade) {
            return history;
        }
        let history =
            Arc::new(History { size: Mutex::new(size), session: session.clone(), all: self.clone() });
        all.insert(session.clone(), Arc::downgrade(&history));
        history
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Weak<History>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // somebody may have opened it again meanwhile
        if all.get(&self.session).is_some_and(|history| history.strong_count() == 0) {
            all.remove(&self.session);
        }
    }
}

impl Telling {
    /// Whether it is known how much the log holds.
    pub(crate) fn is_open(&self) -> bool {
        self.history.is_some()
    }

    /// Writes this log from now on.
    pub(crate) fn open(&mut self, history: Arc<History>) {
        self.history = Some(history);
    }

    /// What of `said` is stored.
    pub(crate) fn admit(&mut self, said: Vec<Said>, limit: HistoryLimit) -> Vec<NewEvent> {
        let Some(history) = &self.history else { return Vec::new() };
        let mut size = history.size.lock().unwrap_or_else(PoisonError::into_inner);
        let mut admitted = Vec::with_capacity(said.len());
        for Said { event, bytes } in said {
            if self.truncated {
                break;
            }
            match size.with(bytes).within(limit) {
                Ok(larger) => {
                    *size = larger;
                    admitted.push(event);
                }
                Err((name, max)) => {
                    self.truncated = true;
                    let data = json!({ "limit": name, "max": max, "from": event.source });
                    // it has the number of the event in whose place it stands, so it too is stored once
                    admitted.push(NewEvent {
                        kind: EventKind::Truncated,
                        agent: None,
                        data: object(data),
                        ..event
                    });
                }
            }
        }
        admitted
    }
}

impl HistorySize {
    fn with(self, bytes: u64) -> Self {
        Self { events: self.events + 1, bytes: self.bytes + bytes }
    }

    /// Itself, or the limit that it exceeds.
    fn within(self, limit: HistoryLimit) -> Result<Self, (&'static str, u64)> {
        if self.events > limit.events {
            Err(("history.max_events", limit.events))
        } else if self.bytes > limit.bytes {
            Err(("history.max_bytes", limit.bytes))
        } else {
            Ok(self)
        }
    }
}

/// How many bytes `data` has as JSON.
pub(crate) fn json_len(data: &Map<String, Value>) -> u64 {
    struct Count(u64);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, data).map_or(u64::MAX, |()| count.0)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use mgx_protocol::{Attempt, JobId};

    fn said(source: u64, bytes: u64) -> Said {
        let event = NewEvent {
            at: Timestamp::UNIX_EPOCH,
            job: JobId::default(),
            attempt: Attempt(1),
            source: Some(source),
            kind: EventKind::Log,
            agent: Some("engineer".to_owned()),
            data: Map::new(),
        };
        Said { event, bytes }
    }

    fn kinds(admitted: &[NewEvent]) -> Vec<(u64, &str)> {
        admitted.iter().map(|event| (event.source.unwrap(), event.kind.as_str())).collect()
    }

    #[test]
    fn what_is_too_much_is_told_once_in_its_place() {
        let (histories, session) = (Histories::default(), "demo".parse().unwrap());
        let limit = HistoryLimit { events: 5, bytes: 100 };
        let mut first = Telling::default();
        first.open(histories.open(&session, HistorySize { events: 2, bytes: 10 }));
        assert_eq!(kinds(&first.admit(vec![said(1, 10), said(2, 10)], limit)), [(1, "log"), (2, "log")]);

        let mut other = Telling::default();
        other.open(histories.find(&session).expect("the jobs of a session fill one log"));
        let admitted = other.admit(vec![said(1, 80), said(2, 1)], limit);
        assert_eq!(kinds(&admitted), [(1, "truncated")], "it would have been too large");
        assert_eq!(json!(admitted[0].data), json!({ "limit": "history.max_bytes", "max": 100, "from": 1 }));

        let admitted = first.admit(vec![said(3, 1), said(4, 1), said(5, 1)], limit);
        assert_eq!(kinds(&admitted), [(3, "log"), (4, "truncated")]);
        assert_eq!(admitted[1].data["limit"], "history.max_events");
        assert!(first.admit(vec![said(6, 1)], limit).is_empty(), "it is told once");
    }

    #[test]
    fn nothing_is_kept_of_a_log_that_nobody_writes() {
        let (histories, session) = (Histories::default(), "demo".parse().unwrap());
        let history = histories.open(&session, HistorySize::default());
        drop(history);
        assert!(histories.lock().is_empty());
    }
}
