//! [`Journal`] on SQLite: jobs and events.

use std::sync::Arc;

use async_trait::async_trait;
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use mgx_scheduler::{
    Entry, Event, Head, HistorySize, Job, JobFilter, Journal, JournalError, NewEvent, State,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::embedded::Embedded;
use crate::embedded::columns::{at_most, count, from_json, number, parse, to_json};

/// The size at which a page of events ends, in bytes of their data: thousands of readers may read pages at the same time.
const PAGE_BYTES: usize = 64 * 1024;

#[async_trait]
impl Journal for Embedded {
    async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        // the writer is one thread for all callers, so the entry is encoded on this one
        let encoded = Encoded::of(&entry)?;
        let entry = Arc::new(entry);
        let shared = entry.clone();
        let numbers = self.writer.write(move |db| record(db, &shared, &encoded)).await??;
        // the change has been dropped, so this is the only reference
        let Entry { session, events, .. } = Arc::unwrap_or_clone(entry);
        Ok(numbered(&session, events, numbers))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        Ok(self
            .readers
            .read(move |db| db.prepare_cached(JOB)?.query_one([id.0], |row| from_json(row, 0)).optional())
            .await?)
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        Ok(self.readers.read(move |db| list(db, filter)).await?)
    }

    async fn unfinished(&self) -> Result<Vec<Job>, JournalError> {
        Ok(self
            .readers
            .read(|db| db.prepare_cached(UNFINISHED)?.query_map([], |row| from_json(row, 0))?.collect())
            .await?)
    }

    async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let session = session.clone();
        Ok(self.readers.read(move |db| page(db, &session, after, limit)).await?)
    }

    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError> {
        let session = session.clone();
        Ok(self
            .readers
            .read(move |db| {
                db.prepare_cached(SIZE)?.query_one([session.as_str()], |row| {
                    Ok(HistorySize { events: count(row, 0)?, bytes: count(row, 1)? })
                })
            })
            .await?)
    }

    async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        let session = session.clone();
        Ok(self
            .readers
            .read(move |db| {
                db.prepare_cached(HEAD)?.query_one([session.as_str()], |row| {
                    Ok(Head { seq: count(row, 0)?, live_jobs: count(row, 1)? })
                })
            })
            .await?)
    }
}

const JOB: &str = "SELECT body FROM jobs WHERE id = ?1";

const UNFINISHED: &str = "SELECT body FROM jobs INDEXED BY jobs_unfinished WHERE ended = 0 ORDER BY id";

const JOB_STATUS: &str = "SELECT ended, attempt FROM jobs WHERE id = ?1";

const ADD_JOB: &str = "INSERT INTO jobs (id, session, user, kind, state, ended, attempt, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Does not set `ended`: that would rewrite the indexes of unfinished jobs each time.
const UPDATE_JOB: &str = "UPDATE jobs SET state = ?2, attempt = ?3, body = ?4 WHERE id = ?1";

const END_JOB: &str = "UPDATE jobs SET state = ?2, attempt = ?3, body = ?4, ended = 1 WHERE id = ?1";

const NEWEST: &str = "SELECT coalesce(max(seq), 0) FROM events WHERE session = ?1";

pub(crate) const ADD_EVENT: &str =
    "INSERT INTO events (session, seq, at, job, attempt, source, kind, agent, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (job, attempt, source) WHERE source IS NOT NULL DO NOTHING";

const EVENTS: &str = "SELECT seq, at, session, job, attempt, kind, agent, data FROM events
    WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";

const SIZE: &str = "SELECT count(*), coalesce(sum(octet_length(data)), 0) FROM events WHERE session = ?1";

const HEAD: &str = "SELECT (SELECT coalesce(max(seq), 0) FROM events WHERE session = ?1),
    (SELECT count(*) FROM jobs INDEXED BY jobs_live WHERE session = ?1 AND ended = 0)";

/// The queries whose time must not grow with the store.
#[cfg(test)]
pub(crate) const HOT: [&str; 9] =
    [JOB, UNFINISHED, JOB_STATUS, UPDATE_JOB, END_JOB, NEWEST, EVENTS, SIZE, HEAD];

/// The number of each event of an entry; `None` for one that was stored before.
type Numbers = Vec<Option<u64>>;

/// The parts of an entry that are stored as JSON.
#[derive(Debug)]
struct Encoded {
    /// The job, if there is one.
    body: Option<String>,
    /// The data of each event.
    data: Vec<String>,
}

impl Encoded {
    fn of(entry: &Entry) -> Result<Self, JournalError> {
        let unwritable = |error: rusqlite::Error| JournalError::Unavailable(error.to_string());
        let body = entry.job.as_ref().map(to_json).transpose().map_err(unwritable)?;
        let data = entry.events.iter().map(|event| to_json(&event.data));
        Ok(Self { body, data: data.collect::<Result<_, _>>().map_err(unwritable)? })
    }
}

/// Writes an entry, completely or not at all: everything that could refuse it is checked before the first write.
fn record(
    db: &Connection,
    entry: &Entry,
    encoded: &Encoded,
) -> rusqlite::Result<Result<Numbers, JournalError>> {
    let Entry { session, job, events } = entry;
    let is_new = match check(db, entry)? {
        Check::Fenced => return Ok(Err(JournalError::Fenced)),
        Check::NewJob => true,
        Check::StoredJob => false,
    };
    if let (Some(job), Some(body)) = (job, &encoded.body) {
        put_job(db, job, body, is_new)?;
    }
    let mut newest = db.prepare_cached(NEWEST)?.query_one([session.as_str()], |row| count(row, 0))?;
    let mut add = db.prepare_cached(ADD_EVENT)?;
    let mut numbers = Vec::with_capacity(events.len());
    for (event, data) in events.iter().zip(&encoded.data) {
        let NewEvent { at, job, attempt, source, kind, agent, data: _ } = event;
        let seq = newest + 1;
        let added = add.execute(params![
            session.as_str(),
            number(seq)?,
            at,
            job.0,
            attempt.0,
            source.map(number).transpose()?,
            kind.as_str(),
            agent,
            data,
        ])?;
        // an event that is stored already takes no number
        let is_new = added == 1;
        numbers.push(is_new.then_some(seq));
        newest += u64::from(is_new);
    }
    Ok(Ok(numbers))
}

/// The events that were stored, with their numbers.
fn numbered(session: &SessionId, events: Vec<NewEvent>, numbers: Numbers) -> Vec<Event> {
    let stored = events.into_iter().zip(numbers).filter_map(|(event, seq)| Some((event, seq?)));
    stored
        .map(|(event, seq)| {
            let NewEvent { at, job, attempt, source: _, kind, agent, data } = event;
            Event { seq, at, session: session.clone(), job, attempt, kind, agent, data }
        })
        .collect()
}

/// Whether an entry may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Yes: its job is new.
    NewJob,
    /// Yes: its job, if it has one, is stored.
    StoredJob,
    /// No, the writer of the entry is out of date: a job that the entry names has ended, has a later attempt, or has been
    /// deleted with its session.
    Fenced,
}

fn check(db: &Connection, entry: &Entry) -> rusqlite::Result<Check> {
    let submitted = entry.job.as_ref().filter(|job| job.state == State::Queued).map(|job| job.id);
    let mut is_new = false;
    let mut select = db.prepare_cached(JOB_STATUS)?;
    let mut seen = None;
    let job = entry.job.iter().map(|job| (job.id, job.attempt));
    for (id, attempt) in job.chain(entry.events.iter().map(|event| (event.job, event.attempt))) {
        if seen.replace((id, attempt)) == Some((id, attempt)) {
            continue;
        }
        let stored: Option<(bool, u32)> =
            select.query_one([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match stored {
            Some((ended, latest)) if ended || latest > attempt.0 => return Ok(Check::Fenced),
            Some(_) => {}
            None if submitted == Some(id) => is_new = true,
            None => return Ok(Check::Fenced),
        }
    }
    Ok(if is_new { Check::NewJob } else { Check::StoredJob })
}

pub(crate) fn put_job(db: &Connection, job: &Job, body: &str, is_new: bool) -> rusqlite::Result<()> {
    let (state, has_ended) = (job.state.name().as_str(), job.state.has_ended());
    if is_new {
        let Job { id, session, user, spec, attempt, .. } = job;
        let (session, kind) = (session.as_str(), spec.kind.name());
        let row = params![id.0, session, user, kind, state, has_ended, attempt.0, body];
        db.prepare_cached(ADD_JOB)?.execute(row)?;
    } else {
        let sql = if has_ended { END_JOB } else { UPDATE_JOB };
        db.prepare_cached(sql)?.execute(params![job.id.0, state, job.attempt.0, body])?;
    }
    Ok(())
}

fn list(db: &Connection, filter: JobFilter) -> rusqlite::Result<Vec<Job>> {
    let JobFilter { session, user, state, before, limit } = filter;
    let wanted = [
        (" AND session = ?", session.map(|session| Value::from(String::from(session)))),
        (" AND user = ?", user.map(Value::from)),
        (" AND state = ?", state.map(|state| Value::from(state.as_str().to_owned()))),
        (" AND id < ?", before.map(|id| Value::from(id.0.as_bytes().to_vec()))),
        (" ORDER BY id DESC LIMIT ?", Some(Value::from(at_most(limit)))),
    ];
    let (clauses, values): (String, Vec<_>) =
        wanted.into_iter().filter_map(|(clause, value)| Some((clause, value?))).unzip();
    db.prepare_cached(&format!("SELECT body FROM jobs WHERE true{clauses}"))?
        .query_map(params_from_iter(values), |row| from_json(row, 0))?
        .collect()
}

fn page(db: &Connection, session: &SessionId, after: u64, limit: usize) -> rusqlite::Result<Vec<Event>> {
    let mut statement = db.prepare_cached(EVENTS)?;
    let mut rows = statement.query(params![session.as_str(), at_most(after), at_most(limit)])?;
    let mut events = Vec::new();
    let mut bytes = 0;
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(7)?.as_str()?.len();
        events.push(event(row)?);
    }
    Ok(events)
}

pub(crate) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: count(row, 0)?,
        at: row.get(1)?,
        session: parse(row, 2)?,
        job: JobId(row.get(3)?),
        attempt: Attempt(row.get(4)?),
        kind: EventKind::of(row.get_ref(5)?.as_str()?),
        agent: row.get(6)?,
        data: from_json(row, 7)?,
    })
}
