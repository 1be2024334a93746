//! Transactions of the process that leads: each whole or not at all, and each only as long as it leads.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use mgx_agent_runner::{Attempt, JobId, SessionId};
use mgx_scheduler::{Entry, Head};
use mongodb::bson::{Binary, Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::{ReadConcern, WriteConcern};
use mongodb::{ClientSession, Collection, Database};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::document::{number, uuid, uuid_of};
use super::error::{Fault, is_away, is_duplicate, is_transient, short};
use super::housework::Housework;
use super::lease::{self, Held, SCHEDULER};
use super::plan::{Fenced, Known, Missing, Plan, Source, Standing};
use super::row;

/// How long everything before the commit may take.
pub(super) const STAGE: Duration = Duration::from_secs(5);

/// How long a commit may take before it is asked what became of it.
const COMMIT: Duration = Duration::from_secs(10);

/// How often a transaction that met another one is tried again.
const TRIES: u32 = 8;

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Failed {
    /// Somebody else leads.
    Succeeded,
    /// The server cannot be written.
    Away(Fault),
    /// The server refuses just this.
    Wrong(Fault),
}

/// What the one writer asks of the server.
#[derive(Debug)]
pub(super) struct Transactions {
    db: Database,
    held: Held,
}

/// What keeps a transaction from being committed.
pub(super) enum Stop {
    /// The server, or another transaction.
    Server(Error),
    /// What is stored cannot be read.
    Unreadable(Fault),
    /// Somebody else leads.
    Succeeded,
    /// It takes too long.
    Late,
    /// It was not committed, for whatever reason.
    Undone,
}

impl Stop {
    /// Whether the same may go well if it is tried again.
    fn may_pass(&self) -> bool {
        match self {
            Self::Server(error) => is_transient(error),
            Self::Undone => true,
            Self::Unreadable(_) | Self::Succeeded | Self::Late => false,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Server(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Unreadable(fault)
    }
}

impl Transactions {
    pub(super) fn new(db: Database, held: Held) -> Self {
        Self { db, held }
    }

    /// Moves the lease on.
    pub(super) async fn beat(&self) -> Result<(), Failed> {
        let beat = doc! { "$inc": { "beat": 1_i64 } };
        let leases = lease::collection(&self.db);
        match timeout(STAGE, async { leases.update_one(self.ours(), beat).await }).await {
            Ok(Ok(moved)) if moved.matched_count == 1 => Ok(()),
            Ok(Ok(_)) => Err(Failed::Succeeded),
            Ok(Err(error)) => Err(Failed::Away(error.into())),
            Err(_) => Err(Failed::Away(Fault::late())),
        }
    }

    /// Gives the lease back.
    pub(super) async fn release(&self) {
        lease::release(&self.db, self.held).await;
    }

    /// Stores a group of entries. `known` must be cleared if that fails.
    pub(super) async fn write(
        &self,
        group: &[&Entry],
        known: &mut Known,
    ) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Failed> {
        let mut careful = false;
        for tries in 1.. {
            let id = Uuid::now_v7();
            let stopped = match self.begin(id).await {
                Err(stop) => stop,
                Ok(mut session) => {
                    let staged = timeout(STAGE, self.stage(&mut session, group, known, careful)).await;
                    match staged.unwrap_or(Err(Stop::Late)) {
                        Err(stop) => {
                            abort(session);
                            stop
                        }
                        Ok(answers) if self.settle(session, id).await => return Ok(answers),
                        Ok(_) => Stop::Undone,
                    }
                }
            };
            known.clear();
            match stopped {
                Stop::Server(error) if is_duplicate(&error) && !careful => careful = true,
                stop if stop.may_pass() && tries < TRIES => pause(tries).await,
                stopped => return Err(failed(stopped)),
            }
        }
        Err(Failed::Away(Fault::late()))
    }

    /// Does something with one session, in a transaction of its own: how many of what it is about there were.
    pub(super) async fn keep_house(&self, work: &Housework) -> Result<usize, Failed> {
        for tries in 1.. {
            let id = Uuid::now_v7();
            let stopped = match self.begin(id).await {
                Err(stop) => stop,
                Ok(mut session) => {
                    let done = timeout(work.patience(), work.stage(&self.db, &mut session)).await;
                    match done.unwrap_or(Err(Stop::Late)) {
                        Err(stop) => {
                            abort(session);
                            stop
                        }
                        Ok(count) if self.settle(session, id).await => return Ok(count),
                        Ok(_) => Stop::Undone,
                    }
                }
            };
            match stopped {
                stop if stop.may_pass() && tries < TRIES => pause(tries).await,
                stopped => return Err(failed(stopped)),
            }
        }
        Err(Failed::Away(Fault::late()))
    }

    fn ours(&self) -> Document {
        doc! { "_id": SCHEDULER, "epoch": self.held.epoch }
    }

    /// Begins transaction `id` by moving the lease on: whoever takes it meanwhile, and this transaction, exclude each
    /// other.
    async fn begin(&self, id: Uuid) -> Result<ClientSession, Stop> {
        let begin = async {
            let mut session = self.db.client().start_session().await?;
            session
                .start_transaction()
                .read_concern(ReadConcern::snapshot())
                .write_concern(
                    WriteConcern::builder()
                        .w(mongodb::options::Acknowledgment::Majority)
                        .journal(true)
                        .build(),
                )
                .await?;
            let moved = doc! { "$inc": { "beat": 1_i64 }, "$set": { "transaction": uuid(id) } };
            let moved =
                lease::collection(&self.db).update_one(self.ours(), moved).session(&mut session).await?;
            if moved.matched_count == 1 { Ok(session) } else { Err(Stop::Succeeded) }
        };
        timeout(STAGE, begin).await.unwrap_or(Err(Stop::Late))
    }

    /// Commits, and returns whether it is committed: it does not return before that is certain.
    async fn settle(&self, mut session: ClientSession, id: Uuid) -> bool {
        let mut pause = Duration::from_millis(20);
        loop {
            match timeout(COMMIT, async { session.commit_transaction().await }).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => {
                    tracing::warn!(error = %short(&error), "it is asked again whether a transaction was committed");
                }
                Err(_) => tracing::warn!("a commit takes long; it is asked again whether it was done"),
            }
            // this waits for the transaction if it is still open: afterwards its mark is there or never will be
            let leases = lease::collection(&self.db);
            let mark =
                leases.find_one_and_update(doc! { "_id": SCHEDULER }, doc! { "$inc": { "beat": 1_i64 } });
            if let Ok(Ok(Some(lease))) = timeout(COMMIT, async { mark.await }).await {
                return lease.get("transaction") == Some(&Bson::Binary(uuid(id)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Everything of a group but the commit.
    async fn stage(
        &self,
        session: &mut ClientSession,
        group: &[&Entry],
        known: &mut Known,
        careful: bool,
    ) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Stop> {
        let missing = known.missing(group, careful);
        let jobs = self.standings(session, &missing).await?;
        let logs = self.heads(session, &missing).await?;
        let stored = self.stored(session, &missing).await?;
        known.learn(missing, &jobs, &logs, stored);
        let plan = known.plan(group);
        self.put(session, &plan).await?;
        Ok(plan.answers)
    }

    async fn standings(
        &self,
        session: &mut ClientSession,
        missing: &Missing,
    ) -> Result<HashMap<JobId, Standing>, Stop> {
        let ids: Vec<Binary> = missing.jobs.iter().map(|job| uuid(job.0)).collect();
        let found = self.found(session, "jobs", ids, doc! { "ended": 1, "attempt": 1 }).await?;
        let standing = |job: RawDocumentBuf| -> Result<_, Fault> {
            let attempt = u32::try_from(number(&job, "attempt")?).map_err(Fault::unreadable)?;
            let ended = job.get_bool("ended").map_err(Fault::unreadable)?;
            Ok((JobId(uuid_of(&job, "_id")?), Standing { ended, attempt: Attempt(attempt) }))
        };
        Ok(found.into_iter().map(standing).collect::<Result<_, _>>()?)
    }

    async fn heads(
        &self,
        session: &mut ClientSession,
        missing: &Missing,
    ) -> Result<HashMap<SessionId, Head>, Stop> {
        let ids: Vec<&str> = missing.logs.iter().map(SessionId::as_str).collect();
        let found = self.found(session, "logs", ids, doc! { "seq": 1, "live": 1 }).await?;
        let head = |log: RawDocumentBuf| -> Result<_, Fault> {
            Ok((super::document::parse(&log, "_id")?, row::head(&log)?))
        };
        Ok(found.into_iter().map(head).collect::<Result<_, _>>()?)
    }

    async fn stored(&self, session: &mut ClientSession, missing: &Missing) -> Result<HashSet<Source>, Stop> {
        let ids: Vec<Uuid> = missing
            .sources
            .iter()
            .map(|(job, attempt, source)| row::event_id(*job, *attempt, *source))
            .collect();
        let wanted: Vec<Binary> = ids.iter().map(|id| uuid(*id)).collect();
        let found = self.found(session, "events", wanted, doc! { "_id": 1 }).await?;
        let found = found.iter().map(|event| uuid_of(event, "_id")).collect::<Result<HashSet<Uuid>, _>>()?;
        let stored = missing.sources.iter().zip(&ids).filter(|(_, id)| found.contains(id));
        Ok(stored.map(|(source, _)| *source).collect())
    }

    /// The documents of these ids, as much of them as `fields` says.
    async fn found<T>(
        &self,
        session: &mut ClientSession,
        name: &str,
        ids: Vec<T>,
        fields: Document,
    ) -> Result<Vec<RawDocumentBuf>, Error>
    where
        Bson: From<Vec<T>>,
    {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let collection: Collection<RawDocumentBuf> = self.db.collection(name);
        let wanted = doc! { "_id": { "$in": ids } };
        let mut cursor = collection.find(wanted).projection(fields).session(&mut *session).await?;
        let mut found = Vec::new();
        while cursor.advance(session).await? {
            found.push(cursor.current().to_owned());
        }
        Ok(found)
    }

    async fn put(&self, session: &mut ClientSession, plan: &Plan<'_>) -> Result<(), Stop> {
        let (new, moved): (Vec<_>, Vec<_>) = plan.jobs.iter().partition(|(_, is_new)| *is_new);
        if !new.is_empty() {
            let rows = new.into_iter().map(|(job, _)| row::job(job)).collect::<Result<Vec<_>, _>>()?;
            self.db.collection::<RawDocumentBuf>("jobs").insert_many(rows).session(&mut *session).await?;
        }
        let changes = moved.into_iter().map(|(job, _)| row::job_moved(job)).collect::<Result<Vec<_>, _>>()?;
        self.update(session, "jobs", changes).await?;
        if !plan.events.is_empty() {
            let rows = plan.events.iter().map(|(seq, id, event)| row::event(id, *seq, event));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            self.db.collection::<RawDocumentBuf>("events").insert_many(rows).session(&mut *session).await?;
        }
        let newest: HashMap<_, _> = plan.events.iter().map(|(_, id, event)| (*id, event.at)).collect();
        let log = |(id, head): (&&SessionId, &Head)| row::log_moved(id, *head, newest.get(*id).copied());
        let logs = plan.logs.iter().map(log).collect();
        self.update(session, "logs", logs).await
    }

    /// Many changes of one collection in one command.
    async fn update(
        &self,
        session: &mut ClientSession,
        name: &str,
        updates: Vec<Document>,
    ) -> Result<(), Stop> {
        if updates.is_empty() {
            return Ok(());
        }
        let command = doc! { "update": name, "updates": updates };
        let answer = self.db.run_command(command).session(session).await?;
        match answer.get_array("writeErrors") {
            Ok(errors) if !errors.is_empty() => Err(Stop::Unreadable(Fault::Unavailable(format!(
                "the server refuses a change: {:?}",
                errors.first()
            )))),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

async fn pause(tries: u32) {
    sleep(Duration::from_millis(2) * (1 << tries.min(6))).await;
}

/// Takes a transaction back, without waiting for it: the server does so by itself if it does not hear of this.
fn abort(mut session: ClientSession) {
    tokio::spawn(async move {
        timeout(STAGE, async { session.abort_transaction().await }).await.ok();
    });
}

fn failed(stop: Stop) -> Failed {
    match stop {
        Stop::Server(error) if is_transient(&error) || is_away(&error) => Failed::Away(error.into()),
        Stop::Server(error) => match error.into() {
            Fault::Full => Failed::Away(Fault::Full),
            fault @ Fault::Unavailable(_) => Failed::Wrong(fault),
        },
        Stop::Unreadable(fault) => Failed::Wrong(fault),
        Stop::Succeeded => Failed::Succeeded,
        Stop::Late | Stop::Undone => Failed::Away(Fault::late()),
    }
}
