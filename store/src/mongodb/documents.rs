//! Jobs, events and sessions as documents, and back.

use jiff::Timestamp;
use mgx_apps::{Session, Usage};
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use mgx_scheduler::{Event, Head, Job, NewEvent};
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc, rawdoc};
use ring::digest::{SHA256, digest};
use uuid::{Builder, Uuid};

use crate::error::Failure;
use crate::mongodb::bson_values::{
    at_most, date, number, object, object_of, parse, timestamp, uuid, uuid_of,
};
use crate::mongodb::error::unreadable;

/// The id of an agent's event, made of its job, its attempt and the agent's own number, so that the same event sent twice
/// is the same document. A UUID version 8 (RFC 9562) that begins with the time of the job, so that the
/// events of one job lie together.
pub(crate) fn event_id(job: JobId, attempt: Attempt, source: u64) -> Uuid {
    named(job, &[b"agent", &attempt.0.to_be_bytes()[..], &source.to_be_bytes()].concat())
}

/// The id of an event of the platform, made of its job and its number in the session.
fn own_event_id(job: JobId, seq: u64) -> Uuid {
    named(job, &[b"platform", &seq.to_be_bytes()[..]].concat())
}

fn named(job: JobId, name: &[u8]) -> Uuid {
    let hash = digest(&SHA256, &[job.0.as_bytes(), name].concat());
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&job.0.as_bytes()[..6]);
    bytes[6..].copy_from_slice(&hash.as_ref()[..10]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The document of an event.
pub(crate) fn event(session: &SessionId, seq: u64, event: &NewEvent) -> Result<RawDocumentBuf, Failure> {
    let NewEvent { at, job, attempt, source, kind, agent, data } = event;
    let id = source.map_or_else(|| own_event_id(*job, seq), |source| event_id(*job, *attempt, source));
    let (timestamp, nanos) = date(*at);
    let mut row = rawdoc! {
        "_id": uuid(id),
        "session_id": session.as_str(),
        "seq": whole(seq)?,
        "timestamp": timestamp,
        "nanos": nanos,
        "event_type": kind.as_str(),
        "data": object(data)?,
        "bytes": at_most(serde_json::to_vec(data).map_err(unreadable)?.len()),
        "job_id": uuid(job.0),
        "attempt": i64::from(attempt.0),
    };
    if let Some(agent) = agent {
        row.append(cstr!("agent_name"), agent.as_str());
    }
    if let Some(source) = source {
        row.append(cstr!("source"), whole(*source)?);
    }
    Ok(row)
}

/// Whether an event is a message of a conversation.
pub(crate) fn is_message(kind: &EventKind) -> bool {
    *kind == EventKind::MessageComplete
}

/// The document of a message whose event is stored now. Besides the fields of its event it has those of a message in the
/// systems that this platform replaces.
pub(crate) fn new_message(
    session: &SessionId,
    seq: u64,
    event: &NewEvent,
) -> Result<RawDocumentBuf, Failure> {
    let mut row = self::event(session, seq, event)?;
    let id = row.get_binary("_id").map_err(unreadable)?.bytes.to_vec();
    let id = Uuid::from_slice(&id).map_err(unreadable)?.to_string();
    row.append(cstr!("message_id"), id);
    for (name, key) in
        [("role", cstr!("role")), ("content", cstr!("content")), ("tool_call_id", cstr!("tool_call_id"))]
    {
        if let Some(text) = event.data.get(name).and_then(serde_json::Value::as_str) {
            row.append(key, text);
        }
    }
    Ok(row)
}

/// The document of a message.
pub(crate) fn message(event: &Event) -> Result<RawDocumentBuf, Failure> {
    let Event { seq, at, session, job, attempt, kind, agent, data } = event.clone();
    new_message(&session, seq, &NewEvent { at, job, attempt, source: None, kind, agent, data })
}

/// The message of a document, as its event.
pub(crate) fn message_of(row: &RawDocument) -> Result<Event, Failure> {
    event_of(row)
}

/// The event of a document.
pub(crate) fn event_of(row: &RawDocument) -> Result<Event, Failure> {
    let text = |name: &str| row.get_str(name).map(str::to_owned).map_err(unreadable);
    let data = row.get("data").map_err(unreadable)?;
    Ok(Event {
        seq: number(row, "seq")?,
        at: timestamp(
            row.get_datetime("timestamp").map_err(unreadable)?,
            row.get_i32("nanos").map_err(unreadable)?,
        )?,
        session: parse(row, "session_id")?,
        job: JobId(uuid_of(row, "job_id")?),
        attempt: Attempt(u32::try_from(number(row, "attempt")?).map_err(unreadable)?),
        kind: EventKind::of(row.get_str("event_type").map_err(unreadable)?),
        agent: if row.get("agent_name").map_err(unreadable)?.is_some() {
            Some(text("agent_name")?)
        } else {
            None
        },
        data: object_of(data.ok_or_else(|| unreadable("an event without data"))?)?,
    })
}

/// The document of a new job.
pub(crate) fn job(job: &Job) -> Result<RawDocumentBuf, Failure> {
    Ok(rawdoc! {
        "_id": uuid(job.id.0),
        "session_id": job.session.as_str(),
        "user": job.user.as_str(),
        "kind": job.spec.kind.name(),
        "state": job.state.name().as_str(),
        "ended": job.state.has_ended(),
        "attempt": i64::from(job.attempt.0),
        "queued_at": date(job.queued_at).0,
        "body": body(job)?,
    })
}

/// The update for a job's new state.
pub(crate) fn job_update(job: &Job) -> Result<Document, Failure> {
    let mut set = doc! {
        "state": job.state.name().as_str(),
        "ended": job.state.has_ended(),
        "attempt": i64::from(job.attempt.0),
        "body": body(job)?,
    };
    if let Some(ended) = job.ended_at {
        set.insert("ended_at", date(ended).0);
    }
    Ok(doc! { "q": { "_id": uuid(job.id.0) }, "u": { "$set": set } })
}

/// The job of a document.
pub(crate) fn job_of(row: &RawDocument) -> Result<Job, Failure> {
    serde_json::from_str(row.get_str("body").map_err(unreadable)?).map_err(unreadable)
}

/// The update of a log for new events and jobs; `newest` is the time of the last of the events.
pub(crate) fn log_update(session: &SessionId, head: Head, newest: Option<Timestamp>) -> Document {
    let mut set = doc! { "seq": at_most(head.seq), "live": at_most(head.live_jobs) };
    if let Some(newest) = newest {
        set.insert("newest", date(newest).0);
    }
    doc! { "q": { "_id": session.as_str() }, "u": { "$set": set }, "upsert": true }
}

/// The state of a session log, built from its jobs and events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log {
    head: Head,
    oldest: Option<u64>,
    newest: Option<Timestamp>,
}

impl Log {
    /// Adds a job.
    pub(crate) fn add_job(&mut self, job: &Job) {
        self.head.live_jobs += u64::from(!job.state.has_ended());
    }

    /// Adds an event; the order does not matter.
    pub(crate) fn add_event(&mut self, seq: u64, at: Timestamp) {
        if seq > self.head.seq {
            (self.head.seq, self.newest) = (seq, Some(at));
        }
        self.oldest = Some(self.oldest.map_or(seq, |oldest| oldest.min(seq)));
    }

    /// Its document.
    pub(crate) fn document(&self, session: &SessionId) -> RawDocumentBuf {
        let Self { head, oldest, newest } = self;
        let mut row = rawdoc! {
            "_id": session.as_str(),
            "seq": at_most(head.seq),
            "live": at_most(head.live_jobs),
        };
        if let Some(oldest) = oldest {
            row.append(cstr!("oldest"), at_most(*oldest));
        }
        if let Some(newest) = newest {
            row.append(cstr!("newest"), date(*newest).0);
        }
        row
    }
}

/// The number of the oldest event that is stored, from the document of a log.
pub(crate) fn oldest(row: &RawDocument) -> Result<u64, Failure> {
    Ok(number(row, "oldest")?.max(1))
}

/// The head of a log, from its document.
pub(crate) fn head(row: &RawDocument) -> Result<Head, Failure> {
    Ok(Head { seq: number(row, "seq")?, live_jobs: number(row, "live")? })
}

/// The document of a session; sessions are listed by `order`.
pub(crate) fn session(session: &Session, order: Uuid) -> RawDocumentBuf {
    let Session { id, name, framework, workspace, user, created_at, usage } = session;
    let (created, nanos) = date(*created_at);
    rawdoc! {
        "_id": id.as_str(),
        "session_id": id.as_str(),
        "order": uuid(order),
        "name": name.as_str(),
        "framework": framework.name(),
        "workspace_id": workspace.as_str(),
        "creator": user.as_str(),
        "created_at": created,
        "created_nanos": nanos,
        "updated_at": created,
        "usage": used(*usage),
    }
}

/// The session of a document.
pub(crate) fn session_of(row: &RawDocument) -> Result<Session, Failure> {
    let text = |name: &str| row.get_str(name).map(str::to_owned).map_err(unreadable);
    Ok(Session {
        id: parse(row, "_id")?,
        name: text("name")?,
        framework: parse(row, "framework")?,
        workspace: parse(row, "workspace_id")?,
        user: text("creator")?,
        created_at: timestamp(
            row.get_datetime("created_at").map_err(unreadable)?,
            row.get_i32("created_nanos").map_err(unreadable)?,
        )?,
        usage: usage_of(row.get_document("usage").map_err(unreadable)?)?,
    })
}

/// The usage of a session as a document; a counter that is too large for the server becomes the largest number.
pub(crate) fn used(usage: Usage) -> RawDocumentBuf {
    rawdoc! {
        "requests": at_most(usage.requests),
        "prompt_tokens": at_most(usage.prompt_tokens),
        "completion_tokens": at_most(usage.completion_tokens),
        "cost_micros": at_most(usage.cost_micros),
    }
}

/// The usage of a session from a document.
pub(crate) fn usage_of(row: &RawDocument) -> Result<Usage, Failure> {
    Ok(Usage {
        requests: number(row, "requests")?,
        prompt_tokens: number(row, "prompt_tokens")?,
        completion_tokens: number(row, "completion_tokens")?,
        cost_micros: number(row, "cost_micros")?,
    })
}

fn body(job: &Job) -> Result<String, Failure> {
    serde_json::to_string(job).map_err(unreadable)
}

fn whole(number: u64) -> Result<i64, Failure> {
    i64::try_from(number).map_err(unreadable)
}
