//! The lines of an exported session: one JSON object each, with one key that says what it is.
//!
//! First the version of the form, then the session, its jobs, the messages whose events are kept no longer, its events in order, and the numbers of jobs and events, which
//! a truncated file lacks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mgx_apps::{Framework, Session, Usage};
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use mgx_scheduler::{Event, Job};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of this form.
pub(crate) const VERSION: u32 = 1;

/// The media type: JSON Lines.
pub(crate) const MEDIA_TYPE: &str = "application/jsonl";

/// What replaces the value of an environment variable.
const HIDDEN: &str = "hidden";

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    /// The first.
    MgxExport {
        /// [`VERSION`].
        version: u32,
        /// When it was made.
        at: Timestamp,
    },
    /// The second.
    Session(SessionLine),
    /// A job, as the journal has it.
    Job(Box<Job>),
    /// A message of the conversation whose event is kept no longer, as that event.
    Message(EventLine),
    /// An event.
    Event(EventLine),
    /// The last.
    End {
        /// How many jobs there were.
        jobs: u64,
        /// How many events there were.
        events: u64,
    },
}

/// A session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionLine {
    pub(crate) session_id: SessionId,
    pub(crate) name: String,
    pub(crate) framework: Framework,
    pub(crate) created_at: Timestamp,
    pub(crate) usage: Usage,
}

/// An event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventLine {
    pub(crate) seq: u64,
    pub(crate) ts: Timestamp,
    pub(crate) job_id: JobId,
    pub(crate) attempt: u32,
    pub(crate) event_type: EventKind,
    pub(crate) agent_name: Option<String>,
    pub(crate) data: Map<String, Value>,
}

impl Line {
    /// A session, without its owner and its workspace.
    pub(crate) fn of_session(session: Session) -> Self {
        let Session { id, name, framework, created_at, usage, workspace: _, user: _ } = session;
        Self::Session(SessionLine { session_id: id, name, framework, created_at, usage })
    }

    /// A job, without the values of its environment: they may be secret.
    pub(crate) fn of_job(mut job: Job) -> Self {
        let hidden = |(name, _)| (name, HIDDEN.to_owned());
        job.spec.env = std::mem::take(&mut job.spec.env).into_iter().map(hidden).collect::<BTreeMap<_, _>>();
        Self::Job(Box::new(job))
    }

    /// A message.
    pub(crate) fn of_message(event: Event) -> Self {
        Self::Message(EventLine::of(event))
    }

    /// An event.
    pub(crate) fn of_event(event: Event) -> Self {
        Self::Event(EventLine::of(event))
    }
}

impl EventLine {
    fn of(event: Event) -> Self {
        let Event { seq, at, session: _, job, attempt, kind, agent, data } = event;
        let attempt = attempt.0;
        Self { seq, ts: at, job_id: job, attempt, event_type: kind, agent_name: agent, data }
    }
}

impl EventLine {
    /// The event, in `session`.
    pub(crate) fn event(self, session: &SessionId) -> Event {
        let Self { seq, ts, job_id, attempt, event_type, agent_name, data } = self;
        Event {
            seq,
            at: ts,
            session: session.clone(),
            job: job_id,
            attempt: Attempt(attempt),
            kind: event_type,
            agent: agent_name,
            data,
        }
    }
}
