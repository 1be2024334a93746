//! Sessions that are over, on MongoDB: their events go bit by bit, and a session from elsewhere comes whole.

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_apps::{Archive, ArchivedSession, StoreError, Trimmed};
use mgx_protocol::{JobId, SessionId};
use mongodb::bson::doc;

use super::document::{date, parse, uuid};
use super::error::Fault;
use super::housework::Housework;
use super::{MongoDb, in_time};

#[async_trait]
impl Archive for MongoDb {
    /// What is ripe is asked for, so places mean nothing here: it goes on until nothing is.
    async fn trim(&self, before: Timestamp, from: u64, most: usize) -> Result<Trimmed, StoreError> {
        let Some(session) = self.ripe(before).await? else {
            return Ok(Trimmed { events: 0, next: None });
        };
        let events = self.writer()?.keep_house(Housework::Trim(session, most)).await?;
        Ok(Trimmed { events, next: Some(from) })
    }

    async fn import(&self, record: ArchivedSession) -> Result<(), StoreError> {
        match self.writer()?.keep_house(Housework::Import(Box::new(record))).await? {
            0 => Err(StoreError::Conflict),
            _ => Ok(()),
        }
    }

    async fn has_job(&self, id: JobId) -> Result<bool, StoreError> {
        let found = in_time(async {
            self.rows("jobs").find_one(doc! { "_id": uuid(id.0) }).projection(doc! { "_id": 1 }).await
        });
        Ok(found.await?.is_some())
    }
}

impl MongoDb {
    /// The session that has been over since `before` for longest, of those that have something to remove.
    async fn ripe(&self, before: Timestamp) -> Result<Option<SessionId>, Fault> {
        let ripe = doc! { "newest": { "$lt": date(before).0 }, "live": 0_i64 };
        let found = in_time(async {
            self.rows("logs").find_one(ripe).sort(doc! { "newest": 1 }).projection(doc! { "_id": 1 }).await
        });
        found.await?.map(|log| parse(&log, "_id")).transpose()
    }
}
