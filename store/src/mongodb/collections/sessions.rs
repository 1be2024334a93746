//! [`SessionStore`] on MongoDB.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mgx_apps::{MessagePage, Session, SessionStore, StoreError, Usage};
use mgx_protocol::SessionId;
use mgx_scheduler::Event;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use uuid::Uuid;

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{at_most, uuid, uuid_of};
use crate::mongodb::documents;
use crate::mongodb::error::{is_duplicate, unreadable};
use crate::mongodb::request::in_time;
use crate::mongodb::writer::session_task::SessionTask;

/// The size at which a page of messages ends, in bytes.
const PAGE_BYTES: usize = 256 * 1024;

#[async_trait]
impl SessionStore for MongoDb {
    async fn insert(&self, session: &Session) -> Result<(), StoreError> {
        let document = documents::session(session, Uuid::now_v7());
        let inserted = in_time(async {
            match self.collection("sessions").insert_one(document).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if inserted.await? { Ok(()) } else { Err(StoreError::Conflict) }
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.session_document(id).await?.map(|row| documents::session_of(&row)).transpose()?)
    }

    async fn sessions(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        if limit == 0 {
            // the server takes 0 for no limit
            return Ok(Vec::new());
        }
        let mut wanted = Document::new();
        if let Some(user) = user {
            wanted.insert("creator", user);
        }
        if let Some(before) = before {
            // no session is older than one that does not exist
            let Some(row) = self.session_document(before).await? else { return Ok(Vec::new()) };
            wanted.insert("order", doc! { "$lt": uuid(uuid_of(&row, "order")?) });
        }
        let rows = in_time(async {
            let sessions = self.collection("sessions");
            let found = sessions.find(wanted).sort(doc! { "order": -1 }).limit(at_most(limit));
            found.await?.try_collect::<Vec<RawDocumentBuf>>().await
        });
        Ok(rows.await?.iter().map(|row| documents::session_of(row)).collect::<Result<_, _>>()?)
    }

    async fn messages(&self, id: &SessionId, page: MessagePage) -> Result<Vec<Event>, StoreError> {
        let MessagePage { after, before, is_newest_first, limit } = page;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let numbers = doc! { "$gt": at_most(after), "$lt": at_most(before) };
        let wanted = doc! { "session_id": id.as_str(), "seq": numbers };
        let order = doc! { "seq": if is_newest_first { -1 } else { 1 } };
        let rows = in_time(async {
            let messages = self.collection("messages");
            let mut found = messages.find(wanted).sort(order).limit(at_most(limit)).await?;
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while bytes < PAGE_BYTES
                && let Some(row) = found.try_next().await?
            {
                bytes += row.as_bytes().len();
                rows.push(row);
            }
            Ok(rows)
        });
        Ok(rows.await?.iter().map(|row| documents::message_of(row)).collect::<Result<_, _>>()?)
    }

    async fn delete(&self, id: &SessionId) -> Result<bool, StoreError> {
        Ok(self.writer()?.change_session(SessionTask::Delete(id.clone())).await? == 1)
    }

    async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, StoreError> {
        // compare and set: the sum is computed here, where it cannot overflow
        loop {
            let Some(found) = self.session_document(id).await? else { return Ok(used) };
            let before = documents::usage_of(found.get_document("usage").map_err(unreadable)?)?;
            let sum = Usage {
                requests: before.requests.saturating_add(used.requests),
                prompt_tokens: before.prompt_tokens.saturating_add(used.prompt_tokens),
                completion_tokens: before.completion_tokens.saturating_add(used.completion_tokens),
                cost_micros: before.cost_micros.saturating_add(used.cost_micros),
            };
            let used = |usage| Document::try_from(documents::used(usage)).map_err(unreadable);
            let unchanged = doc! { "_id": id.as_str(), "usage": used(before)? };
            let set = doc! { "$set": { "usage": used(sum)? }, "$currentDate": { "updated_at": true } };
            let moved =
                in_time(async { self.collection("sessions").update_one(unchanged, set).await }).await?;
            if moved.matched_count == 1 {
                return Ok(sum);
            }
        }
    }
}

impl MongoDb {
    async fn session_document(&self, id: &SessionId) -> Result<Option<RawDocumentBuf>, Failure> {
        in_time(async { self.collection("sessions").find_one(doc! { "_id": id.as_str() }).await }).await
    }
}
