//! The conformance suite of the storage traits: [`journal::run`], [`sessions::run`], [`archive::run`] and [`intents::run`]
//! panic at the first requirement that a store does not meet. They use sessions and users of their own, so the store may
//! contain others.
#![expect(clippy::unwrap_used, reason = "a suite of tests, only compiled for tests")]

pub mod archive;
pub mod intents;
pub mod journal;
pub mod sessions;

use std::collections::BTreeMap;

use jiff::Timestamp;
use mgx_apps::{Framework, Session, Usage};
use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_runtimes::Limits;
use mgx_scheduler::{
    Entry, Event, Job, JobSpec, Journal, JournalError, Kind, NewEvent, SchedulingOptions, State,
};
use serde_json::{Map, Value, json};

/// A queued job of a new session of a new user.
pub fn sample_job() -> Job {
    let id = JobId::new();
    Job {
        id,
        session: sample_session_id(),
        user: format!("user-{id}"),
        spec: JobSpec {
            kind: Kind::Agent,
            prompt: "Build a page that says \"grüezi\" 🏔\n\0".into(),
            command: vec!["sh".into(), "-c".into(), "true".into()],
            env: BTreeMap::from([("KEY".into(), "a=b".into())]),
            workdir: "/workspace".into(),
            limits: Limits { memory_bytes: u64::MAX, cpu_quota: 100_000, pids: 512 },
            timeout_s: 1800,
            options: SchedulingOptions::default(),
            continues: Vec::new(),
        },
        state: State::Queued,
        attempt: Attempt(1),
        runs: 0,
        queued_at: at("2026-01-02T03:04:05.678901234Z"),
        started_at: None,
        started_up: None,
        deadline_at: None,
        ended_at: None,
        exit: None,
        error: None,
        provider_wait: None,
        ran_ms: 0,
        runtime: None,
    }
}

/// An event of `job`; of its agent, if `source` is the agent's number for it.
pub fn sample_event(job: &Job, source: Option<u64>) -> NewEvent {
    NewEvent {
        at: at("2026-01-02T03:04:06.5Z"),
        job: job.id,
        attempt: job.attempt,
        source,
        kind: "message_delta".into(),
        agent: Some("engineer".into()),
        data: object(
            json!({"text": "data: é\r\n\nevent: finish\u{0}", "source": source, "$gt": [1.5, null]}),
        ),
    }
}

/// A new session without usage.
pub fn sample_session() -> Session {
    let id = sample_session_id();
    Session {
        name: "Näme of the app".into(),
        framework: Framework::FastapiVite,
        workspace: id.as_str().parse().unwrap(),
        user: format!("user-{id}"),
        created_at: at("2026-01-02T03:04:05.678901234Z"),
        usage: Usage::default(),
        id,
    }
}

pub(crate) async fn submitted(journal: &dyn Journal) -> Job {
    let job = sample_job();
    put(journal, &job).await.unwrap();
    job
}

pub(crate) async fn put(journal: &dyn Journal, job: &Job) -> Result<Vec<Event>, JournalError> {
    journal.write(Entry { session: job.session.clone(), job: Some(job.clone()), events: Vec::new() }).await
}

pub(crate) async fn say(
    journal: &dyn Journal,
    job: &Job,
    events: Vec<NewEvent>,
) -> Result<Vec<Event>, JournalError> {
    journal.write(Entry { session: job.session.clone(), job: None, events }).await
}

pub(crate) fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

pub(crate) fn is_fenced(written: &Result<Vec<Event>, JournalError>) -> bool {
    matches!(written, Err(JournalError::Fenced))
}

pub(crate) fn sample_session_id() -> SessionId {
    format!("s-{}", JobId::new()).parse().unwrap()
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
