//! Sessions and what they have used, on MongoDB.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mgx_apps::{Session, SessionStore, StoreError, Usage};
use mgx_protocol::SessionId;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use uuid::Uuid;

use super::document::{at_most, uuid, uuid_of};
use super::error::{Fault, is_duplicate};
use super::housework::Housework;
use super::{MongoDb, in_time, row};

#[async_trait]
impl SessionStore for MongoDb {
    async fn insert(&self, session: &Session) -> Result<(), StoreError> {
        let row = row::session(session, Uuid::now_v7());
        let inserted = in_time(async {
            match self.rows("sessions").insert_one(row).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if inserted.await? { Ok(()) } else { Err(StoreError::Conflict) }
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.row_of(id).await?.map(|row| row::session_of(&row)).transpose()?)
    }

    async fn sessions(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        if limit == 0 {
            // to the server that would be no limit
            return Ok(Vec::new());
        }
        let mut wanted = Document::new();
        if let Some(user) = user {
            wanted.insert("creator", user);
        }
        if let Some(before) = before {
            // nothing is older than what nobody knows
            let Some(row) = self.row_of(before).await? else { return Ok(Vec::new()) };
            wanted.insert("order", doc! { "$lt": uuid(uuid_of(&row, "order")?) });
        }
        let rows = in_time(async {
            let sessions = self.rows("sessions");
            let found = sessions.find(wanted).sort(doc! { "order": -1 }).limit(at_most(limit));
            found.await?.try_collect::<Vec<RawDocumentBuf>>().await
        });
        Ok(rows.await?.iter().map(|row| row::session_of(row)).collect::<Result<_, _>>()?)
    }

    async fn delete(&self, id: &SessionId) -> Result<bool, StoreError> {
        Ok(self.writer()?.keep_house(Housework::Forget(id.clone())).await? == 1)
    }

    async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, StoreError> {
        // compared and set: the sum is made here, where it cannot run over
        loop {
            let Some(found) = self.row_of(id).await? else { return Ok(used) };
            let before = row::usage_of(found.get_document("usage").map_err(Fault::unreadable)?)?;
            let sum = Usage {
                requests: before.requests.saturating_add(used.requests),
                prompt_tokens: before.prompt_tokens.saturating_add(used.prompt_tokens),
                completion_tokens: before.completion_tokens.saturating_add(used.completion_tokens),
                cost_micros: before.cost_micros.saturating_add(used.cost_micros),
            };
            let document = |usage| Document::try_from(row::used(usage)).map_err(Fault::unreadable);
            let unchanged = doc! { "_id": id.as_str(), "usage": document(before)? };
            let set = doc! { "$set": { "usage": document(sum)? }, "$currentDate": { "updated_at": true } };
            let moved = in_time(async { self.rows("sessions").update_one(unchanged, set).await }).await?;
            if moved.matched_count == 1 {
                return Ok(sum);
            }
        }
    }
}

impl MongoDb {
    async fn row_of(&self, id: &SessionId) -> Result<Option<RawDocumentBuf>, Fault> {
        in_time(async { self.rows("sessions").find_one(doc! { "_id": id.as_str() }).await }).await
    }
}
