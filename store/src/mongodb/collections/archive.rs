//! [`Archive`] on MongoDB: old events of finished sessions, and imported sessions.

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_apps::{Archive, ArchivedSession, StoreError, Trimmed};
use mgx_protocol::{JobId, SessionId};
use mongodb::bson::doc;

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{date, parse, uuid};
use crate::mongodb::request::in_time;
use crate::mongodb::writer::session_task::SessionTask;

#[async_trait]
impl Archive for MongoDb {
    /// The server finds a session with old events, so positions have no meaning here: the caller goes on until there is
    /// none.
    async fn trim(&self, before: Timestamp, from: u64, most: usize) -> Result<Trimmed, StoreError> {
        let Some(session) = self.find_expired(before).await? else {
            return Ok(Trimmed { events: 0, next: None });
        };
        let events = self.writer()?.change_session(SessionTask::Trim(session, most)).await?;
        Ok(Trimmed { events, next: Some(from) })
    }

    async fn import(&self, archived: ArchivedSession) -> Result<(), StoreError> {
        match self.writer()?.change_session(SessionTask::Import(Box::new(archived))).await? {
            0 => Err(StoreError::Conflict),
            _ => Ok(()),
        }
    }

    async fn has_job(&self, id: JobId) -> Result<bool, StoreError> {
        let found = in_time(async {
            self.collection("jobs").find_one(doc! { "_id": uuid(id.0) }).projection(doc! { "_id": 1 }).await
        });
        Ok(found.await?.is_some())
    }
}

impl MongoDb {
    /// Of the sessions that ended before `before` and have events to remove, the one that ended first.
    async fn find_expired(&self, before: Timestamp) -> Result<Option<SessionId>, Failure> {
        let expired = doc! { "newest": { "$lt": date(before).0 }, "live": 0_i64 };
        let found = in_time(async {
            self.collection("logs")
                .find_one(expired)
                .sort(doc! { "newest": 1 })
                .projection(doc! { "_id": 1 })
                .await
        });
        found.await?.map(|log| parse(&log, "_id")).transpose()
    }
}
