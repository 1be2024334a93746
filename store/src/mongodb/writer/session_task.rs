//! Changes to one session as a whole: it is deleted, its old events are removed, or it is imported.

use std::time::Duration;

use mgx_apps::ArchivedSession;
use mgx_protocol::SessionId;
use mgx_scheduler::{Event, NewEvent};
use mongodb::bson::{Binary, Document, RawDocumentBuf, doc};
use mongodb::{ClientSession, Database};
use uuid::Uuid;

use crate::error::Failure;
use crate::mongodb::bson_values::{at_most, uuid};
use crate::mongodb::documents::{self, Log};
use crate::mongodb::writer::abort::{Abort, STATEMENTS_TIMEOUT};

/// How long the import of a session may take, which has some ten megabytes at most.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// One change, made in one transaction.
#[derive(Debug)]
pub(crate) enum SessionTask {
    /// Deletes a session and everything that belongs to it: counts sessions.
    Delete(SessionId),
    /// Removes the oldest events of a finished session, at most this many, and never the newest: counts events.
    Trim(SessionId, usize),
    /// Stores a session, unless its id or the id of one of its jobs is taken: counts sessions.
    Import(Box<ArchivedSession>),
}

impl SessionTask {
    /// How long the statements may take, without the commit.
    pub(crate) fn timeout(&self) -> Duration {
        match self {
            Self::Delete(_) | Self::Trim(..) => STATEMENTS_TIMEOUT,
            Self::Import(_) => IMPORT_TIMEOUT,
        }
    }

    /// Executes the statements, without the commit. How many sessions or events were changed.
    pub(crate) async fn run(&self, db: &Database, open: &mut ClientSession) -> Result<usize, Abort> {
        match self {
            Self::Delete(session) => delete(db, open, session).await,
            Self::Trim(session, most) => trim(db, open, session, *most).await,
            Self::Import(archived) => import(db, open, archived).await,
        }
    }
}

async fn delete(db: &Database, open: &mut ClientSession, session: &SessionId) -> Result<usize, Abort> {
    let id = session.as_str();
    for name in ["events", "messages", "jobs"] {
        let of_session = doc! { "session_id": id };
        db.collection::<Document>(name).delete_many(of_session).session(&mut *open).await?;
    }
    db.collection::<Document>("logs").delete_one(doc! { "_id": id }).session(&mut *open).await?;
    let sessions = db.collection::<Document>("sessions");
    let removed = sessions.delete_one(doc! { "_id": id }).session(&mut *open).await?;
    Ok(usize::from(removed.deleted_count == 1))
}

async fn trim(
    db: &Database,
    open: &mut ClientSession,
    session: &SessionId,
    most: usize,
) -> Result<usize, Abort> {
    let this = doc! { "_id": session.as_str() };
    let logs = db.collection::<RawDocumentBuf>("logs");
    let Some(log) = logs.find_one(this.clone()).session(&mut *open).await? else { return Ok(0) };
    let (head, oldest) = (documents::head(&log)?, documents::oldest(&log)?);
    if head.live_jobs > 0 {
        // a new job has been submitted to the session meanwhile
        return Ok(0);
    }
    let end = head.seq.min(oldest.saturating_add(most as u64)).max(oldest);
    let old = doc! {
        "session_id": session.as_str(),
        "seq": { "$gte": at_most(oldest), "$lt": at_most(end) },
    };
    let removed = db.collection::<Document>("events").delete_many(old).session(&mut *open).await?;
    let mut moved = doc! { "$set": { "oldest": at_most(end) } };
    if end >= head.seq {
        moved.insert("$unset", doc! { "newest": true });
    }
    logs.update_one(this, moved).session(&mut *open).await?;
    Ok(usize::try_from(removed.deleted_count).unwrap_or(usize::MAX))
}

/// Stores a session: everything that could refuse it is checked before the first write.
async fn import(db: &Database, open: &mut ClientSession, archived: &ArchivedSession) -> Result<usize, Abort> {
    let ArchivedSession { session, jobs, messages, events } = archived;
    let ids: Vec<Binary> = jobs.iter().map(|job| uuid(job.id.0)).collect();
    let conflicts = [
        ("sessions", doc! { "_id": session.id.as_str() }),
        ("logs", doc! { "_id": session.id.as_str() }),
        ("jobs", doc! { "_id": { "$in": ids } }),
    ];
    for (name, wanted) in conflicts {
        let found = db.collection::<RawDocumentBuf>(name).find_one(wanted).session(&mut *open).await?;
        if found.is_some() {
            return Ok(0);
        }
    }
    let mut log = Log::default();
    for job in jobs {
        log.add_job(job);
    }
    for event in events {
        log.add_event(event.seq, event.at);
    }
    let rows = [
        ("sessions", vec![documents::session(session, Uuid::now_v7())]),
        ("jobs", jobs.iter().map(documents::job).collect::<Result<_, _>>()?),
        ("events", events.iter().map(event).collect::<Result<_, _>>()?),
        (
            "messages",
            messages
                .iter()
                .chain(events.iter().filter(|event| documents::is_message(&event.kind)))
                .map(documents::message)
                .collect::<Result<_, _>>()?,
        ),
        ("logs", vec![log.document(&session.id)]),
    ];
    for (name, rows) in rows {
        if !rows.is_empty() {
            db.collection::<RawDocumentBuf>(name).insert_many(rows).session(&mut *open).await?;
        }
    }
    Ok(1)
}

fn event(event: &Event) -> Result<RawDocumentBuf, Failure> {
    let Event { seq, at, session, job, attempt, kind, agent, data } = event.clone();
    documents::event(&session, seq, &NewEvent { at, job, attempt, source: None, kind, agent, data })
}
