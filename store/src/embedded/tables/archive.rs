//! [`Archive`] on SQLite: old events of finished sessions, and imported sessions.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_apps::{Archive, ArchivedSession, StoreError, Trimmed};
use mgx_protocol::JobId;
use mgx_scheduler::Event;
use rusqlite::{Connection, OptionalExtension, params};

use crate::embedded::Embedded;
use crate::embedded::columns::{at_most, count, number, to_json};
use crate::embedded::tables::journal::put_job;
use crate::embedded::tables::sessions::{ADD_MESSAGE, insert};

/// How many sessions one step examines.
const SESSIONS_PER_STEP: usize = 256;

#[async_trait]
impl Archive for Embedded {
    async fn trim(&self, before: Timestamp, from: u64, most: usize) -> Result<Trimmed, StoreError> {
        let found = self.readers.read(move |db| find_expired(db, before, from)).await?;
        let Some(Expired { position, session }) = found.expired else {
            return Ok(Trimmed { events: 0, next: found.next });
        };
        let events = self.writer.write(move |db| trim(db, &session, most)).await?;
        // the session may have more old events
        let next = if events == most { Some(position.saturating_sub(1)) } else { Some(position) };
        Ok(Trimmed { events, next })
    }

    async fn import(&self, archived: ArchivedSession) -> Result<(), StoreError> {
        let archived = Arc::new(archived);
        let imported = self.writer.write(move |db| import(db, &archived)).await?;
        if imported { Ok(()) } else { Err(StoreError::Conflict) }
    }

    async fn has_job(&self, id: JobId) -> Result<bool, StoreError> {
        Ok(self.readers.read(move |db| has_job(db, id)).await?)
    }
}

const SESSIONS: &str = "SELECT number, id FROM sessions WHERE number > ?1 ORDER BY number LIMIT ?2";

const SPAN: &str = "SELECT (SELECT min(seq) FROM events WHERE session = ?1),
    (SELECT max(seq) FROM events WHERE session = ?1)";

const LIVE: &str = "SELECT EXISTS (SELECT 1 FROM jobs INDEXED BY jobs_live WHERE session = ?1 AND ended = 0)";

const AT: &str = "SELECT at FROM events WHERE session = ?1 AND seq = ?2";

const TRIM: &str = "DELETE FROM events WHERE session = ?1 AND seq >= ?2 AND seq < ?3";

const ADD_EVENT: &str = "INSERT INTO events (session, seq, at, job, attempt, source, kind, agent, data)
    VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7, ?8)";

const IS_JOB: &str = "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)";

const IS_SESSION: &str = "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1)";

/// The queries whose time must not grow with the store.
#[cfg(test)]
pub(crate) const HOT: [&str; 6] = [SESSIONS, SPAN, LIVE, AT, TRIM, IS_JOB];

/// The result of examining some sessions.
struct Search {
    expired: Option<Expired>,
    /// The position to go on from if no session has old events.
    next: Option<u64>,
}

/// A session with old events.
struct Expired {
    position: u64,
    session: String,
}

/// The first session after position `from` that ended before `before` and has events to remove.
fn find_expired(db: &Connection, before: Timestamp, from: u64) -> rusqlite::Result<Search> {
    let mut statement = db.prepare_cached(SESSIONS)?;
    let mut rows = statement.query(params![at_most(from), at_most(SESSIONS_PER_STEP)])?;
    let (mut seen, mut next) = (0, None);
    while let Some(row) = rows.next()? {
        let (position, session): (u64, String) = (count(row, 0)?, row.get(1)?);
        if let Some((_, newest)) = span(db, &session)? {
            let at: Timestamp =
                db.prepare_cached(AT)?.query_one(params![session, newest], |row| row.get(0))?;
            if at < before {
                return Ok(Search { expired: Some(Expired { position, session }), next: None });
            }
        }
        seen += 1;
        next = Some(position);
    }
    Ok(Search { expired: None, next: next.filter(|_| seen == SESSIONS_PER_STEP) })
}

/// The numbers of the first and the last event of a session that is over, if there are events to remove.
fn span(db: &Connection, session: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    let span: (Option<i64>, Option<i64>) =
        db.prepare_cached(SPAN)?.query_one([session], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(oldest), Some(newest)) = span else { return Ok(None) };
    let is_live: bool = db.prepare_cached(LIVE)?.query_one([session], |row| row.get(0))?;
    Ok((oldest < newest && !is_live).then_some((oldest, newest)))
}

fn trim(db: &Connection, session: &str, most: usize) -> rusqlite::Result<usize> {
    // a new job may have been submitted to the session meanwhile
    let Some((oldest, newest)) = span(db, session)? else { return Ok(0) };
    let end = newest.min(oldest.saturating_add(at_most(most)));
    db.prepare_cached(TRIM)?.execute(params![session, oldest, end])
}

/// Stores a session, completely or not at all: everything that could refuse it is checked before the first write.
fn import(db: &Connection, archived: &ArchivedSession) -> rusqlite::Result<bool> {
    let ArchivedSession { session, jobs, messages, events } = archived;
    let exists: bool = db.prepare_cached(IS_SESSION)?.query_one([session.id.as_str()], |row| row.get(0))?;
    if exists || has_any_event(db, session.id.as_str())? {
        return Ok(false);
    }
    for job in jobs {
        if has_job(db, job.id)? {
            return Ok(false);
        }
    }
    insert(db, session)?;
    for job in jobs {
        put_job(db, job, &to_json(job)?, true)?;
    }
    let mut add = db.prepare_cached(ADD_MESSAGE)?;
    for Event { seq, at, session: _, job, attempt, kind: _, agent, data } in messages {
        let id = session.id.as_str();
        add.execute(params![id, number(*seq)?, at, job.0, attempt.0, agent, to_json(data)?])?;
    }
    let mut add = db.prepare_cached(ADD_EVENT)?;
    for Event { seq, at, session: _, job, attempt, kind, agent, data } in events {
        let data = to_json(data)?;
        let id = session.id.as_str();
        add.execute(params![id, number(*seq)?, at, job.0, attempt.0, kind.as_str(), agent, data])?;
    }
    Ok(true)
}

fn has_any_event(db: &Connection, session: &str) -> rusqlite::Result<bool> {
    let newest: Option<i64> = db
        .prepare_cached("SELECT seq FROM events WHERE session = ?1 LIMIT 1")?
        .query_one([session], |row| row.get(0))
        .optional()?;
    Ok(newest.is_some())
}

fn has_job(db: &Connection, id: JobId) -> rusqlite::Result<bool> {
    db.prepare_cached(IS_JOB)?.query_one([id.0], |row| row.get(0))
}
