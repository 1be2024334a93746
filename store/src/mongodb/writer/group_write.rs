//! The statements of a transaction of the journal: reads what the plan needs, and writes the plan.

use std::collections::{HashMap, HashSet};

use mgx_protocol::{Attempt, JobId, SessionId};
use mgx_scheduler::{Entry, Head};
use mongodb::bson::{Binary, Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::{ClientSession, Collection, Database};
use uuid::Uuid;

use crate::error::Failure;
use crate::mongodb::bson_values::{number, parse, uuid, uuid_of};
use crate::mongodb::documents;
use crate::mongodb::error::unreadable;
use crate::mongodb::writer::abort::Abort;
use crate::mongodb::writer::group_plan::{Fenced, GroupPlan, JobStatus, Missing, Source, WriterCache};

/// An open transaction.
pub(crate) struct GroupWrite<'a> {
    pub(crate) db: &'a Database,
    pub(crate) session: &'a mut ClientSession,
}

impl GroupWrite<'_> {
    /// Executes the statements for a group, without the commit.
    pub(crate) async fn run(
        &mut self,
        group: &[&Entry],
        cache: &mut WriterCache,
        check_all_sources: bool,
    ) -> Result<Vec<Result<Vec<Option<u64>>, Fenced>>, Abort> {
        let missing = cache.missing(group, check_all_sources);
        let jobs = self.job_statuses(&missing).await?;
        let logs = self.heads(&missing).await?;
        let stored = self.stored(&missing).await?;
        cache.insert(missing, &jobs, &logs, stored);
        let plan = cache.plan(group);
        self.put(&plan).await?;
        Ok(plan.results)
    }

    async fn job_statuses(&mut self, missing: &Missing) -> Result<HashMap<JobId, JobStatus>, Abort> {
        let ids: Vec<Binary> = missing.jobs.iter().map(|job| uuid(job.0)).collect();
        let found = self.found("jobs", ids, doc! { "ended": 1, "attempt": 1 }).await?;
        let status = |job: RawDocumentBuf| -> Result<_, Failure> {
            let attempt = u32::try_from(number(&job, "attempt")?).map_err(unreadable)?;
            let ended = job.get_bool("ended").map_err(unreadable)?;
            Ok((JobId(uuid_of(&job, "_id")?), JobStatus { ended, attempt: Attempt(attempt) }))
        };
        Ok(found.into_iter().map(status).collect::<Result<_, _>>()?)
    }

    async fn heads(&mut self, missing: &Missing) -> Result<HashMap<SessionId, Head>, Abort> {
        let ids: Vec<&str> = missing.logs.iter().map(SessionId::as_str).collect();
        let found = self.found("logs", ids, doc! { "seq": 1, "live": 1 }).await?;
        let head =
            |log: RawDocumentBuf| -> Result<_, Failure> { Ok((parse(&log, "_id")?, documents::head(&log)?)) };
        Ok(found.into_iter().map(head).collect::<Result<_, _>>()?)
    }

    async fn stored(&mut self, missing: &Missing) -> Result<HashSet<Source>, Abort> {
        let ids: Vec<Uuid> = missing
            .sources
            .iter()
            .map(|(job, attempt, source)| documents::event_id(*job, *attempt, *source))
            .collect();
        let wanted: Vec<Binary> = ids.iter().map(|id| uuid(*id)).collect();
        let found = self.found("events", wanted, doc! { "_id": 1 }).await?;
        let found = found.iter().map(|event| uuid_of(event, "_id")).collect::<Result<HashSet<Uuid>, _>>()?;
        let stored = missing.sources.iter().zip(&ids).filter(|(_, id)| found.contains(id));
        Ok(stored.map(|(source, _)| *source).collect())
    }

    /// The documents of these ids, with these fields.
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

    async fn put(&mut self, plan: &GroupPlan<'_>) -> Result<(), Abort> {
        let (new, moved): (Vec<_>, Vec<_>) = plan.jobs.iter().partition(|(_, is_new)| *is_new);
        if !new.is_empty() {
            let rows = new.into_iter().map(|(job, _)| documents::job(job)).collect::<Result<Vec<_>, _>>()?;
            self.db
                .collection::<RawDocumentBuf>("jobs")
                .insert_many(rows)
                .session(&mut *self.session)
                .await?;
        }
        let changes =
            moved.into_iter().map(|(job, _)| documents::job_update(job)).collect::<Result<Vec<_>, _>>()?;
        self.update("jobs", changes).await?;
        if !plan.events.is_empty() {
            let rows = plan.events.iter().map(|(seq, id, event)| documents::event(id, *seq, event));
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            self.db
                .collection::<RawDocumentBuf>("events")
                .insert_many(rows)
                .session(&mut *self.session)
                .await?;
        }
        let messages = plan.events.iter().filter(|(_, _, event)| documents::is_message(&event.kind));
        let rows = messages.map(|(seq, id, event)| documents::new_message(id, *seq, event));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        if !rows.is_empty() {
            let messages = self.db.collection::<RawDocumentBuf>("messages");
            messages.insert_many(rows).session(&mut *self.session).await?;
        }
        let newest: HashMap<_, _> = plan.events.iter().map(|(_, id, event)| (*id, event.at)).collect();
        let log =
            |(id, head): (&&SessionId, &Head)| documents::log_update(id, *head, newest.get(*id).copied());
        let logs = plan.logs.iter().map(log).collect();
        self.update("logs", logs).await
    }

    /// Updates many documents of one collection in one command.
    async fn update(&mut self, name: &str, updates: Vec<Document>) -> Result<(), Abort> {
        if updates.is_empty() {
            return Ok(());
        }
        let command = doc! { "update": name, "updates": updates };
        let answer = self.db.run_command(command).session(&mut *self.session).await?;
        match answer.get_array("writeErrors") {
            Ok(errors) if !errors.is_empty() => Err(Abort::Unreadable(Failure::Unavailable(format!(
                "the server refuses an update: {:?}",
                errors.first()
            )))),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
