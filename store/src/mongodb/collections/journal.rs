//! [`Journal`] on MongoDB: jobs and events.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Entry, Event, Head, HistorySize, Job, JobFilter, Journal, JournalError};
use mongodb::bson::{Document, RawDocumentBuf, doc};

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{at_most, number, uuid};
use crate::mongodb::documents;
use crate::mongodb::request::in_time;

/// The size at which a page of events ends, in bytes: thousands of readers may read pages at the same time.
const PAGE_BYTES: usize = 64 * 1024;

/// The most events of a page. A query for a range of numbers is cheap on every server; a query for the next events after a
/// number is not.
const PAGE_EVENTS: u64 = 1000;

#[async_trait]
impl Journal for MongoDb {
    async fn write(&self, entry: Entry) -> Result<Vec<Event>, JournalError> {
        self.writer()?.write(entry).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        let found = in_time(async {
            self.collection("jobs").find_one(doc! { "_id": uuid(id.0) }).projection(doc! { "body": 1 }).await
        });
        Ok(found.await?.map(|row| documents::job_of(&row)).transpose()?)
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        if filter.limit == 0 {
            // the server takes 0 for no limit
            return Ok(Vec::new());
        }
        Ok(in_time(async {
            let jobs = self.collection("jobs");
            let found = jobs.find(wanted(&filter)).projection(doc! { "body": 1 });
            let newest = found.sort(doc! { "_id": -1 }).limit(at_most(filter.limit));
            newest.await?.try_collect::<Vec<_>>().await
        })
        .await?
        .iter()
        .map(|row| documents::job_of(row))
        .collect::<Result<_, _>>()?)
    }

    async fn unfinished(&self) -> Result<Vec<Job>, JournalError> {
        let rows = in_time(async {
            let jobs = self.collection("jobs");
            let found = jobs.find(doc! { "ended": false }).projection(doc! { "body": 1 });
            found.batch_size(1000).await?.try_collect::<Vec<_>>().await
        });
        let mut jobs = rows.await?.iter().map(|row| documents::job_of(row)).collect::<Result<Vec<_>, _>>()?;
        jobs.sort_unstable_by_key(|job| job.id);
        Ok(jobs)
    }

    async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let length = PAGE_EVENTS.min(limit as u64);
        let page = self.page(session, after, length).await?;
        if !page.is_empty() || length == 0 {
            return Ok(page);
        }
        // the next event may come long after the removed ones
        let Some(log) = self.log(session).await? else { return Ok(page) };
        let before = documents::oldest(&log)? - 1;
        if before > after { Ok(self.page(session, before, length).await?) } else { Ok(page) }
    }

    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError> {
        let sums = doc! { "_id": null, "events": { "$sum": 1_i64 }, "bytes": { "$sum": "$bytes" } };
        let steps = [doc! { "$match": { "session_id": session.as_str() } }, doc! { "$group": sums }];
        let found = in_time(async {
            let events = self.collection("events");
            let found = events.aggregate(steps).with_type::<RawDocumentBuf>();
            found.await?.try_next().await
        });
        let Some(found) = found.await? else { return Ok(HistorySize::default()) };
        Ok(HistorySize { events: number(&found, "events")?, bytes: number(&found, "bytes")? })
    }

    async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        Ok(self.log(session).await?.map(|row| documents::head(&row)).transpose()?.unwrap_or_default())
    }
}

impl MongoDb {
    async fn log(&self, session: &SessionId) -> Result<Option<RawDocumentBuf>, Failure> {
        in_time(async { self.collection("logs").find_one(doc! { "_id": session.as_str() }).await }).await
    }

    /// The events of the next `length` numbers after `after`, as far as they fit into a page.
    async fn page(&self, session: &SessionId, after: u64, length: u64) -> Result<Vec<Event>, Failure> {
        let (after, last) = (at_most(after), at_most(after.saturating_add(length)));
        if after == last {
            return Ok(Vec::new());
        }
        let of_page = doc! { "session_id": session.as_str(), "seq": { "$gt": after, "$lte": last } };
        let page = in_time(async {
            let (mut events, mut bytes) = (Vec::new(), 0);
            let mut rows = self.collection("events").find(of_page).sort(doc! { "seq": 1 }).await?;
            while bytes < PAGE_BYTES
                && let Some(row) = rows.try_next().await?
            {
                bytes += row.as_bytes().len();
                events.push(row);
            }
            Ok(events)
        });
        page.await?.iter().map(|row| documents::event_of(row)).collect()
    }
}

fn wanted(filter: &JobFilter) -> Document {
    let JobFilter { session, user, state, before, limit: _ } = filter;
    let mut wanted = Document::new();
    if let Some(session) = session {
        wanted.insert("session_id", session.as_str());
    }
    if let Some(user) = user {
        wanted.insert("user", user.as_str());
    }
    if let Some(state) = state {
        wanted.insert("state", state.as_str());
    }
    if let Some(before) = before {
        wanted.insert("_id", doc! { "$lt": uuid(before.0) });
    }
    wanted
}
