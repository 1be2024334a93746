//! [`SessionStore`] on SQLite.

use async_trait::async_trait;
use mgx_apps::{MessagePage, Session, SessionStore, StoreError, Usage};
use mgx_protocol::SessionId;
use mgx_scheduler::Event;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::embedded::Embedded;
use crate::embedded::columns::{at_most, count, parse};
use crate::embedded::tables::journal::event;

#[async_trait]
impl SessionStore for Embedded {
    async fn insert(&self, session: &Session) -> Result<(), StoreError> {
        let session = session.clone();
        let added = self.writer.write(move |db| insert(db, &session)).await?;
        if added { Ok(()) } else { Err(StoreError::Conflict) }
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let before = match self.session_cache.get(id) {
            Ok(session) => return Ok(Some(session)),
            Err(version) => version,
        };
        let id = id.clone();
        let read =
            move |db: &Connection| db.prepare_cached(ONE)?.query_one([id.as_str()], session).optional();
        let found = self.readers.read(read).await?;
        if let Some(session) = &found {
            self.session_cache.insert(session, before);
        }
        Ok(found)
    }

    async fn sessions(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let (user, before) = (user.map(str::to_owned), before.map(|id| id.as_str().to_owned()));
        Ok(self
            .readers
            .read(move |db| {
                let sql = if user.is_some() { OF_USER } else { OF_ALL };
                db.prepare_cached(sql)?.query_map(params![user, before, at_most(limit)], session)?.collect()
            })
            .await?)
    }

    async fn messages(&self, id: &SessionId, page: MessagePage) -> Result<Vec<Event>, StoreError> {
        let id = id.clone();
        Ok(self.readers.read(move |db| messages(db, &id, page)).await?)
    }

    async fn delete(&self, id: &SessionId) -> Result<bool, StoreError> {
        let invalidation = self.session_cache.invalidation(id.clone());
        Ok(self.writer.write(move |db| delete(db, invalidation.id())).await?)
    }

    async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, StoreError> {
        let invalidation = self.session_cache.invalidation(id.clone());
        Ok(self.writer.write(move |db| add_usage(db, invalidation.id(), used)).await?)
    }
}

const INSERT: &str = "INSERT INTO sessions (id, name, framework, workspace, user, created_at,
    requests, prompt_tokens, completion_tokens, cost_micros) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (id) DO NOTHING";

const ONE: &str = "SELECT id, name, framework, workspace, user, created_at,
    requests, prompt_tokens, completion_tokens, cost_micros FROM sessions WHERE id = ?1";

const OF_USER: &str = "SELECT id, name, framework, workspace, user, created_at,
    requests, prompt_tokens, completion_tokens, cost_micros FROM sessions
    WHERE user = ?1 AND (?2 IS NULL OR number < (SELECT number FROM sessions WHERE id = ?2))
    ORDER BY number DESC LIMIT ?3";

const OF_ALL: &str = "SELECT id, name, framework, workspace, user, created_at,
    requests, prompt_tokens, completion_tokens, cost_micros FROM sessions
    WHERE ?1 IS NULL AND (?2 IS NULL OR number < (SELECT number FROM sessions WHERE id = ?2))
    ORDER BY number DESC LIMIT ?3";

/// Every session, in the order of creation.
pub(crate) const IN_ORDER: &str = "SELECT id, name, framework, workspace, user, created_at,
    requests, prompt_tokens, completion_tokens, cost_micros FROM sessions ORDER BY number";

const USED: &str =
    "SELECT requests, prompt_tokens, completion_tokens, cost_micros FROM sessions WHERE id = ?1";

const USE: &str = "UPDATE sessions
    SET requests = ?2, prompt_tokens = ?3, completion_tokens = ?4, cost_micros = ?5 WHERE id = ?1";

pub(crate) fn insert(db: &Connection, session: &Session) -> rusqlite::Result<bool> {
    let Session { id, name, framework, workspace, user, created_at, usage } = session;
    let added = db.prepare_cached(INSERT)?.execute(params![
        id.as_str(),
        name,
        framework.name(),
        workspace.as_str(),
        user,
        created_at,
        at_most(usage.requests),
        at_most(usage.prompt_tokens),
        at_most(usage.completion_tokens),
        at_most(usage.cost_micros),
    ])?;
    Ok(added == 1)
}

/// Adds a message whose event may be stored no longer; one with its event is there already.
pub(crate) const ADD_MESSAGE: &str = "INSERT INTO messages (session, seq, at, job, attempt, agent, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING";

/// The size at which a page of messages ends, in bytes of their data.
const PAGE_BYTES: usize = 256 * 1024;

pub(crate) const MESSAGES: &str =
    "SELECT seq, at, session, job, attempt, 'message_complete', agent, data FROM messages
    WHERE session = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq LIMIT ?4";

pub(crate) const NEWEST_MESSAGES: &str =
    "SELECT seq, at, session, job, attempt, 'message_complete', agent, data
    FROM messages WHERE session = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4";

fn messages(db: &Connection, id: &SessionId, page: MessagePage) -> rusqlite::Result<Vec<Event>> {
    let MessagePage { after, before, is_newest_first, limit } = page;
    let mut statement = db.prepare_cached(if is_newest_first { NEWEST_MESSAGES } else { MESSAGES })?;
    let mut rows = statement.query(params![id.as_str(), at_most(after), at_most(before), at_most(limit)])?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        bytes += row.get_ref(7)?.as_str()?.len();
        events.push(event(row)?);
    }
    Ok(events)
}

fn delete(db: &Connection, id: &SessionId) -> rusqlite::Result<bool> {
    db.prepare_cached("DELETE FROM messages WHERE session = ?1")?.execute([id.as_str()])?;
    db.prepare_cached("DELETE FROM events WHERE session = ?1")?.execute([id.as_str()])?;
    db.prepare_cached("DELETE FROM jobs WHERE session = ?1")?.execute([id.as_str()])?;
    Ok(db.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id.as_str()])? == 1)
}

/// Adds up to the largest number that can be stored. Nothing is stored for a session that has been deleted.
fn add_usage(db: &Connection, id: &SessionId, used: Usage) -> rusqlite::Result<Usage> {
    let before = db.prepare_cached(USED)?.query_one([id.as_str()], |row| usage(row, 0)).optional()?;
    let before = before.unwrap_or_default();
    let sum = Usage {
        requests: before.requests.saturating_add(used.requests),
        prompt_tokens: before.prompt_tokens.saturating_add(used.prompt_tokens),
        completion_tokens: before.completion_tokens.saturating_add(used.completion_tokens),
        cost_micros: before.cost_micros.saturating_add(used.cost_micros),
    };
    db.prepare_cached(USE)?.execute(params![
        id.as_str(),
        at_most(sum.requests),
        at_most(sum.prompt_tokens),
        at_most(sum.completion_tokens),
        at_most(sum.cost_micros),
    ])?;
    Ok(sum)
}

pub(crate) fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: parse(row, 0)?,
        name: row.get(1)?,
        framework: parse(row, 2)?,
        workspace: parse(row, 3)?,
        user: row.get(4)?,
        created_at: row.get(5)?,
        usage: usage(row, 6)?,
    })
}

fn usage(row: &Row<'_>, first: usize) -> rusqlite::Result<Usage> {
    Ok(Usage {
        requests: count(row, first)?,
        prompt_tokens: count(row, first + 1)?,
        completion_tokens: count(row, first + 2)?,
        cost_micros: count(row, first + 3)?,
    })
}
