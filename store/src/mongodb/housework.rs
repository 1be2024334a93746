//! What is done with one session as a whole: it is forgotten, bit by bit or altogether, or comes from elsewhere.

use std::time::Duration;

use mgx_apps::ArchivedSession;
use mgx_protocol::SessionId;
use mgx_scheduler::{Event, NewEvent};
use mongodb::bson::{Binary, Document, RawDocumentBuf, doc};
use mongodb::{ClientSession, Database};
use uuid::Uuid;

use super::document::{at_most, uuid};
use super::error::Fault;
use super::row::{self, Log};
use super::transaction::{STAGE, Stop};

/// How long it may take to bring in a session, which is some ten megabytes at most.
const ADMIT: Duration = Duration::from_secs(30);

/// One piece of it, which is one transaction.
#[derive(Debug)]
pub(super) enum Housework {
    /// Removes a session and everything that belongs to it: counts sessions.
    Forget(SessionId),
    /// Removes the oldest events of a session that is over, at most so many, and never the newest: counts events.
    Trim(SessionId, usize),
    /// Takes in a session, unless there is one of its id or a job of one of its jobs': counts sessions.
    Import(Box<ArchivedSession>),
}

impl Housework {
    /// How long everything before the commit may take.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Forget(_) | Self::Trim(..) => STAGE,
            Self::Import(_) => ADMIT,
        }
    }

    /// Everything but the commit. How many it was.
    pub(super) async fn stage(&self, db: &Database, open: &mut ClientSession) -> Result<usize, Stop> {
        match self {
            Self::Forget(session) => forget(db, open, session).await,
            Self::Trim(session, most) => trim(db, open, session, *most).await,
            Self::Import(record) => import(db, open, record).await,
        }
    }
}

async fn forget(db: &Database, open: &mut ClientSession, session: &SessionId) -> Result<usize, Stop> {
    let id = session.as_str();
    for name in ["events", "jobs"] {
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
) -> Result<usize, Stop> {
    let this = doc! { "_id": session.as_str() };
    let logs = db.collection::<RawDocumentBuf>("logs");
    let Some(log) = logs.find_one(this.clone()).session(&mut *open).await? else { return Ok(0) };
    let (head, oldest) = (row::head(&log)?, row::oldest(&log)?);
    if head.live_jobs > 0 {
        // it has come to life again meanwhile
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

/// Everything that could refuse it is looked at before anything is written.
async fn import(db: &Database, open: &mut ClientSession, record: &ArchivedSession) -> Result<usize, Stop> {
    let ArchivedSession { session, jobs, events } = record;
    let ids: Vec<Binary> = jobs.iter().map(|job| uuid(job.id.0)).collect();
    let in_the_way = [
        ("sessions", doc! { "_id": session.id.as_str() }),
        ("logs", doc! { "_id": session.id.as_str() }),
        ("jobs", doc! { "_id": { "$in": ids } }),
    ];
    for (name, wanted) in in_the_way {
        let found = db.collection::<RawDocumentBuf>(name).find_one(wanted).session(&mut *open).await?;
        if found.is_some() {
            return Ok(0);
        }
    }
    let mut log = Log::default();
    for job in jobs {
        log.take_job(job);
    }
    for event in events {
        log.take_event(event.seq, event.at);
    }
    let rows = [
        ("sessions", vec![row::session(session, Uuid::now_v7())]),
        ("jobs", jobs.iter().map(row::job).collect::<Result<_, _>>()?),
        ("events", events.iter().map(event).collect::<Result<_, _>>()?),
        ("logs", vec![log.row(&session.id)]),
    ];
    for (name, rows) in rows {
        if !rows.is_empty() {
            db.collection::<RawDocumentBuf>(name).insert_many(rows).session(&mut *open).await?;
        }
    }
    Ok(1)
}

fn event(event: &Event) -> Result<RawDocumentBuf, Fault> {
    let Event { seq, at, session, job, attempt, kind, agent, data } = event.clone();
    row::event(&session, seq, &NewEvent { at, job, attempt, source: None, kind, agent, data })
}
