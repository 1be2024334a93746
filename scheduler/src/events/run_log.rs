//! How much a session's log may hold. What agents report beyond that is acknowledged and not stored, and one event in
//! its place says so; what the platform itself reports, `finish` above all, is always stored.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mgx_protocol::{EventKind, SessionId};
use serde_json::{Map, Value, json};

use super::event::NewEvent;

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

/// The logs of sessions whose jobs run: the jobs of a session write to the same one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionLogs(Arc<Mutex<HashMap<SessionId, Weak<SessionLog>>>>);

/// The size of one session's log, kept as long as a job writes to it.
#[derive(Debug)]
pub(crate) struct SessionLog {
    size: Mutex<HistorySize>,
    session: SessionId,
    all: SessionLogs,
}

/// What one run of a job may still add to its session's log.
#[derive(Debug, Default)]
pub(crate) struct RunLogQuota {
    log: Option<Arc<SessionLog>>,
    /// The limit was reached: nothing more of this run is stored.
    truncated: bool,
}

/// An event that an agent reported, and the size of its data as JSON, in bytes.
#[derive(Debug)]
pub(crate) struct SizedEvent {
    pub(crate) event: NewEvent,
    pub(crate) bytes: u64,
}

impl SessionLogs {
    /// The log of `session`, if a job writes to it now.
    pub(crate) fn find(&self, session: &SessionId) -> Option<Arc<SessionLog>> {
        self.lock().get(session)?.upgrade()
    }

    /// The log of `session`, which has this `size` unless another job has opened it meanwhile.
    pub(crate) fn open(&self, session: &SessionId, size: HistorySize) -> Arc<SessionLog> {
        let mut all = self.lock();
        if let Some(log) = all.get(session).and_then(Weak::upgrade) {
            return log;
        }
        let log =
            Arc::new(SessionLog { size: Mutex::new(size), session: session.clone(), all: self.clone() });
        all.insert(session.clone(), Arc::downgrade(&log));
        log
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Weak<SessionLog>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SessionLog {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // another job may have opened it again meanwhile
        if all.get(&self.session).is_some_and(|log| log.strong_count() == 0) {
            all.remove(&self.session);
        }
    }
}

impl RunLogQuota {
    /// Whether the log has been opened.
    pub(crate) fn is_open(&self) -> bool {
        self.log.is_some()
    }

    /// Counts what is admitted from now on against this log.
    pub(crate) fn open(&mut self, log: Arc<SessionLog>) {
        self.log = Some(log);
    }

    /// The events of `reported` that are to be stored.
    pub(crate) fn admit(&mut self, reported: Vec<SizedEvent>, limit: HistoryLimit) -> Vec<NewEvent> {
        let Some(log) = &self.log else { return Vec::new() };
        let mut size = log.size.lock().unwrap_or_else(PoisonError::into_inner);
        let mut admitted = Vec::with_capacity(reported.len());
        for SizedEvent { event, bytes } in reported {
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
                    // it takes the agent's number of the event that it replaces, so that it too is stored once
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

    fn sized(source: u64, bytes: u64) -> SizedEvent {
        let event = NewEvent {
            at: Timestamp::UNIX_EPOCH,
            job: JobId::default(),
            attempt: Attempt(1),
            source: Some(source),
            kind: EventKind::Log,
            agent: Some("engineer".to_owned()),
            data: Map::new(),
        };
        SizedEvent { event, bytes }
    }

    fn kinds(admitted: &[NewEvent]) -> Vec<(u64, &str)> {
        admitted.iter().map(|event| (event.source.unwrap(), event.kind.as_str())).collect()
    }

    #[test]
    fn events_beyond_the_limit_are_replaced_by_one_that_says_so() {
        let (logs, session) = (SessionLogs::default(), "demo".parse().unwrap());
        let limit = HistoryLimit { events: 5, bytes: 100 };
        let mut first = RunLogQuota::default();
        first.open(logs.open(&session, HistorySize { events: 2, bytes: 10 }));
        assert_eq!(kinds(&first.admit(vec![sized(1, 10), sized(2, 10)], limit)), [(1, "log"), (2, "log")]);

        let mut other = RunLogQuota::default();
        other.open(logs.find(&session).expect("the jobs of a session write to one log"));
        let admitted = other.admit(vec![sized(1, 80), sized(2, 1)], limit);
        assert_eq!(kinds(&admitted), [(1, "truncated")], "it would have been too large");
        assert_eq!(json!(admitted[0].data), json!({ "limit": "history.max_bytes", "max": 100, "from": 1 }));

        let admitted = first.admit(vec![sized(3, 1), sized(4, 1), sized(5, 1)], limit);
        assert_eq!(kinds(&admitted), [(3, "log"), (4, "truncated")]);
        assert_eq!(admitted[1].data["limit"], "history.max_events");
        assert!(first.admit(vec![sized(6, 1)], limit).is_empty(), "one event says so");
    }

    #[test]
    fn a_log_that_no_job_writes_to_is_forgotten() {
        let (logs, session) = (SessionLogs::default(), "demo".parse().unwrap());
        let log = logs.open(&session, HistorySize::default());
        drop(log);
        assert!(logs.lock().is_empty());
    }
}
