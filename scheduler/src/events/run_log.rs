//! How much a session's log may hold. What agents report beyond that is acknowledged and not stored, and one event in
//! its place says so; what the platform itself reports, `finish` above all, is always stored.
//!
//! Pieces (deltas, lines of output) count against the limit of their job and against that of the session. What matters
//! (starts and ends of roles, tools, messages) has the job's limit to itself, so neither a talkative job nor the jobs before it
//! silence it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mgx_protocol::{EventKind, SessionId};
use serde_json::{Map, Value, json};

use super::event::NewEvent;

/// The most that the log of a session, or of one of its jobs, may hold of what agents say.
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
    /// The pieces that this run has stored.
    pieces: HistorySize,
    /// What else this run has stored.
    rest: HistorySize,
    /// A limit was reached: no more pieces of this run are stored.
    no_more_pieces: bool,
    /// The job's limit was reached for what matters too.
    no_more: bool,
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
    pub(crate) fn admit(
        &mut self,
        reported: Vec<SizedEvent>,
        of_session: HistoryLimit,
        of_job: HistoryLimit,
    ) -> Vec<NewEvent> {
        let Some(log) = &self.log else { return Vec::new() };
        let mut size = log.size.lock().unwrap_or_else(PoisonError::into_inner);
        let mut admitted = Vec::with_capacity(reported.len());
        for SizedEvent { event, bytes } in reported {
            let is_piece = is_piece(&event.kind);
            let (own, is_over) = if is_piece {
                (&mut self.pieces, &mut self.no_more_pieces)
            } else {
                (&mut self.rest, &mut self.no_more)
            };
            if *is_over {
                continue;
            }
            let mut fits = own.with(bytes).within(of_job, JOB_KEYS);
            if is_piece {
                fits = fits.and(size.with(bytes).within(of_session, SESSION_KEYS));
            }
            match fits {
                Ok(()) => {
                    *own = own.with(bytes);
                    *size = size.with(bytes);
                    admitted.push(event);
                }
                Err((name, max)) => {
                    *is_over = true;
                    let what = if is_piece { "pieces" } else { "everything" };
                    let data = json!({ "limit": name, "max": max, "from": event.source, "left_out": what });
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

    /// The limit that it exceeds, if it does; `keys` are the limits' keys in the configuration.
    fn within(self, limit: HistoryLimit, keys: [&'static str; 2]) -> Result<(), (&'static str, u64)> {
        if self.events > limit.events {
            Err((keys[0], limit.events))
        } else if self.bytes > limit.bytes {
            Err((keys[1], limit.bytes))
        } else {
            Ok(())
        }
    }
}

/// The keys of the limits of a session's log.
const SESSION_KEYS: [&str; 2] = ["history.max_events", "history.max_bytes"];

/// The keys of the limits of a job's part of it.
const JOB_KEYS: [&str; 2] = ["history.max_events_per_job", "history.max_bytes_per_job"];

/// Whether an event is a piece of something that is being written.
fn is_piece(kind: &EventKind) -> bool {
    match kind {
        EventKind::MessageDelta
        | EventKind::ReasoningDelta
        | EventKind::ToolDelta
        | EventKind::Log
        | EventKind::Custom
        | EventKind::Other(_) => true,
        EventKind::Job(_)
        | EventKind::JobReattached
        | EventKind::Finish
        | EventKind::Truncated
        | EventKind::LlmUsage
        | EventKind::LlmRefused
        | EventKind::AgentStart
        | EventKind::AgentEnd
        | EventKind::AgentError
        | EventKind::MessageReset
        | EventKind::MessageComplete
        | EventKind::ProviderWait
        | EventKind::ContextShortened
        | EventKind::ToolStart
        | EventKind::ToolEnd => false,
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
        let of_job = HistoryLimit { events: 100, bytes: 1000 };
        assert_eq!(
            kinds(&first.admit(vec![sized(1, 10), sized(2, 10)], limit, of_job)),
            [(1, "log"), (2, "log")]
        );

        let mut other = RunLogQuota::default();
        other.open(logs.find(&session).expect("the jobs of a session write to one log"));
        let admitted = other.admit(vec![sized(1, 80), sized(2, 1)], limit, of_job);
        assert_eq!(kinds(&admitted), [(1, "truncated")], "it would have been too large");
        assert_eq!(
            json!(admitted[0].data),
            json!({ "limit": "history.max_bytes", "max": 100, "from": 1, "left_out": "pieces" })
        );

        let admitted = first.admit(vec![sized(3, 1), sized(4, 1), sized(5, 1)], limit, of_job);
        assert_eq!(kinds(&admitted), [(3, "log"), (4, "truncated")]);
        assert_eq!(admitted[1].data["limit"], "history.max_events");
        assert!(first.admit(vec![sized(6, 1)], limit, of_job).is_empty(), "one event says so");
    }

    #[test]
    fn what_matters_is_stored_when_pieces_are_no_longer() {
        let (logs, session) = (SessionLogs::default(), "demo".parse().unwrap());
        let (of_session, of_job) =
            (HistoryLimit { events: 2, bytes: 1000 }, HistoryLimit { events: 3, bytes: 1000 });
        let message = |source| {
            let SizedEvent { event, bytes } = sized(source, 1);
            SizedEvent { event: NewEvent { kind: EventKind::MessageComplete, ..event }, bytes }
        };
        let mut quota = RunLogQuota::default();
        quota.open(logs.open(&session, HistorySize { events: 2, bytes: 10 }));
        let reported =
            vec![sized(1, 1), message(2), sized(3, 1), message(4), message(5), message(6), message(7)];
        let admitted = quota.admit(reported, of_session, of_job);
        assert_eq!(
            kinds(&admitted),
            [
                (1, "truncated"),
                (2, "message_complete"),
                (4, "message_complete"),
                (5, "message_complete"),
                (6, "truncated")
            ]
        );
        assert_eq!(admitted[4].data["limit"], "history.max_events_per_job");
    }

    #[test]
    fn a_log_that_no_job_writes_to_is_forgotten() {
        let (logs, session) = (SessionLogs::default(), "demo".parse().unwrap());
        let log = logs.open(&session, HistorySize::default());
        drop(log);
        assert!(logs.lock().is_empty());
    }
}
