//! What a transaction of the journal does before it is committed.

use std::collections::{HashMap, HashSet};

use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_scheduler::{Entry, Head};
use mongodb::bson::{Binary, Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::{ClientSession, Collection, Database};
use uuid::Uuid;

use super::document::{number, parse, uuid, uuid_of};
use super::error::Fault;
use super::plan::{Fenced, Known, Missing, Plan, Source, Standing};
use super::row;
use super::transaction::Stop;

/// A transaction that is open.
pub(super) struct Stage<'a> {
    pub(super) db: &'a Database,
    pub(super) session: &'a mut ClientSession,
}

impl Stage<'_> {
    /// Everything of a group but the commit.
    pub(super) async fn all(
        &mut self,
        group: &[&Entry],
        known: &mut Known,
        careful: bool,
    ) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Stop> {
        let missing = known.missing(group, careful);
        let jobs = self.standings(&missing).await?;
        let logs = self.heads(&missing).await?;
        let stored = self.stored(&missing).await?;
        known.learn(missing, &jobs, &logs, stored);
        let plan = known.plan(group);
        self.put(&plan).await?;
        Ok(plan.answers)
    }

    async fn standings(&mut self, missing: &Missing) -> Result<HashMap<JobId, Standing>, Stop> {
        let ids: Vec<Binary> = missing.jobs.iter().map(|job| uuid(job.0)).collect();
        let found = self.found("jobs", ids, doc! { "ended": 1, "attempt": 1 }).await?;
        let standing = |job: RawDocumentBuf| -> Result<_, Fault> {
            let attempt = u32::try_from(number(&job, "attempt")?).map_err(Fault::unreadable)?;
            let ended = job.get_bool("ended").map_err(Fault::unreadable)?;
            Ok((JobId(uuid_of(&job, "_id")?), Standing { ended, attempt: Attempt(attempt) }))
        };
        Ok(found.into_iter().map(standing).collect::<Result<_, _>>()?)
    }

    async fn heads(&mut self, missing: &Missing) -> Result<HashMap<SessionId, Head>, Stop> {
        let ids: Vec<&str> = missing.logs.iter().map(SessionId::as_str).collect();
        let found = self.found("logs", ids, doc! { "seq": 1, "live": 1 }).await?;
        let head = |log: RawDocumentBuf| -> Result<_, Fault> { Ok((parse(&log, "_id")?, row::head(&log)?)) };
        Ok(found.into_iter().map(head).collect::<Result<_, _>>()?)
    }

    async fn stored(&mut self, missing: &Missing) -> Result<HashSet<Source>, Stop> {
        let ids: Vec<Uuid> = missing
            .sources
            .iter()
            .map(|(job, attempt, source)| row::event_id(*job, *attempt, *source))
            .collect();
        let wanted: Vec<Binary> = ids.iter().map(|id| uuid(*id)).collect();
        let found = self.found("events", wanted, doc! { "_id": 1 }).await?;
        let found = found.iter().map(|event| uuid_of(event, "_id")).collect::<Result<HashSet<Uuid>, _>>()?;
        let stored = missing.sources.iter().zip(&ids).filter(|(_, id)| found.contains(id));
        Ok(stored.map(|(source, _)| *source).collect())
    }

    /// The documents of these ids, as much of them as `fields` says.
    async fn found<T>(
        &mut self,
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
        let mut cursor = collection.find(wanted).projection(fields).session(&mut *self.session).await?;
        let mut found = Vec::new();
        while cursor.advance(&mut *self.session).await? {
            found.push(cursor.current().to_owned());
        }
        Ok(found)
    }

    async fn put(&mut self, plan: &Plan<'_>) -> Result<(), Stop> {
        let (new, moved): (Vec<_>, Vec<_>) = plan.jobs.iter().partition(|(_, is_new)| *is_new);
        if !new.is_empty() {
            let rows = new.into_iter().map(|(job, _)| row::job(job)).collect::<Result<Vec<_>, _>>()?;
            self.db
                .collection::<RawDocumentBuf>("jobs")
                .insert_many(rows)
                .session(&mut *self.session)
                .await?;
        }
        let changes = moved.into_iter().map(|(job, _)| row::job_moved(job)).collect::<Result<Vec<_>, _>>()?;
        self.update("jobs", changes).await?;
        if !plan.events.is_empty() {
            let rows = plan.events.iter().map(|(seq, id, event)| row::event(id, *seq, event));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            self.db
                .collection::<RawDocumentBuf>("events")
                .insert_many(rows)
                .session(&mut *self.session)
                .await?;
        }
        let newest: HashMap<_, _> = plan.events.iter().map(|(_, id, event)| (*id, event.at)).collect();
        let log = |(id, head): (&&SessionId, &Head)| row::log_moved(id, *head, newest.get(*id).copied());
        let logs = plan.logs.iter().map(log).collect();
        self.update("logs", logs).await
    }

    /// Many changes of one collection in one command.
    async fn update(&mut self, name: &str, updates: Vec<Document>) -> Result<(), Stop> {
        if updates.is_empty() {
            return Ok(());
        }
        let command = doc! { "update": name, "updates": updates };
        let answer = self.db.run_command(command).session(&mut *self.session).await?;
        match answer.get_array("writeErrors") {
            Ok(errors) if !errors.is_empty() => Err(Stop::Unreadable(Fault::Unavailable(format!(
                "the server refuses a change: {:?}",
                errors.first()
            )))),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
