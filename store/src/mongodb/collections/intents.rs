//! [`IntentStore`] on MongoDB.

pub(crate) mod intent_total;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mgx_apps::{Intent, IntentBounds, IntentKey, IntentStore, Recorded, StoreError};
use mongodb::bson::{RawDocument, RawDocumentBuf, doc, rawdoc};
use mongodb::options::ReturnDocument;

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{array, at_most, bytes, date, number, timestamp};
use crate::mongodb::error::{is_duplicate, unreadable};
use crate::mongodb::request::in_time;

#[async_trait]
impl IntentStore for MongoDb {
    async fn record(
        &self,
        intent: &Intent,
        since: Timestamp,
        bounds: IntentBounds,
    ) -> Result<Recorded, StoreError> {
        let mut total = self.total().await?;
        if let Some(stored) = self.stored_intent(intent.key).await? {
            let intent = intent_of(&stored)?;
            if intent.at >= since {
                return Ok(Recorded::Existing(intent));
            }
            let old = doc! { "_id": bytes(&intent.key.0), "seed": bytes(&intent.seed) };
            let removed = in_time(async { self.collection("intents").delete_one(old).await }).await?;
            if removed.deleted_count == 1 {
                self.intent_total.add(-1, -length(&intent));
                total = self.total().await?;
            }
        }
        if total.count >= bounds.count || total.bytes >= bounds.bytes {
            return Ok(Recorded::Full);
        }
        let inserted = in_time(async {
            match self.collection("intents").insert_one(document(intent)).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if inserted.await? {
            self.intent_total.add(1, length(intent));
            return Ok(Recorded::New);
        }
        let stored = self.stored_intent(intent.key).await?;
        let gone =
            || Failure::Unavailable("the intent was deleted at the same timestamp: try again".to_owned());
        Ok(Recorded::Existing(intent_of(&stored.ok_or_else(gone)?)?))
    }

    async fn answer(&self, intent: &Intent, answer: Vec<u8>) -> Result<bool, StoreError> {
        self.total().await?;
        // the seed identifies the intent: a later one may have the same key
        let same = doc! { "_id": bytes(&intent.key.0), "seed": bytes(&intent.seed) };
        let length = at_most(answer.len());
        let set = doc! { "$set": { "answer": bytes(&answer), "bytes": length } };
        let before = in_time(async {
            let intents = self.collection("intents");
            let update = intents.find_one_and_update(same, set);
            update.projection(doc! { "bytes": 1 }).return_document(ReturnDocument::Before).await
        });
        let Some(before) = before.await? else { return Ok(false) };
        self.intent_total.add(0, length - at_most(number(&before, "bytes")?));
        Ok(true)
    }

    async fn withdraw(&self, intent: &Intent) -> Result<bool, StoreError> {
        self.total().await?;
        let unanswered = doc! {
            "_id": bytes(&intent.key.0), "seed": bytes(&intent.seed), "answer": { "$exists": false }
        };
        let removed = in_time(async { self.collection("intents").delete_one(unanswered).await }).await?;
        if removed.deleted_count == 1 {
            self.intent_total.add(-1, 0);
        }
        Ok(removed.deleted_count == 1)
    }

    async fn forget_intents(&self, since: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.total().await?;
        let old = doc! { "at": { "$lt": date(since).0 } };
        let oldest = in_time(async {
            let intents = self.collection("intents");
            let found = intents.find(old).projection(doc! { "bytes": 1 });
            found.sort(doc! { "at": 1 }).limit(at_most(limit)).await?.try_collect::<Vec<_>>().await
        });
        let mut forgotten = 0;
        for row in oldest.await? {
            let one = doc! { "_id": row.get_binary("_id").map_err(unreadable)?.to_binary() };
            let removed = in_time(async { self.collection("intents").delete_one(one).await }).await?;
            if removed.deleted_count == 1 {
                self.intent_total.add(-1, -at_most(number(&row, "bytes")?));
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}

impl MongoDb {
    async fn stored_intent(&self, key: IntentKey) -> Result<Option<RawDocumentBuf>, Failure> {
        in_time(async { self.collection("intents").find_one(doc! { "_id": bytes(&key.0) }).await }).await
    }

    async fn total(&self) -> Result<IntentBounds, Failure> {
        self.intent_total.get(self.count_intents()).await
    }

    async fn count_intents(&self) -> Result<IntentBounds, Failure> {
        let all =
            doc! { "$group": { "_id": null, "count": { "$sum": 1_i64 }, "bytes": { "$sum": "$bytes" } } };
        let total = in_time(async {
            let intents = self.collection("intents");
            intents.aggregate([all]).with_type::<RawDocumentBuf>().await?.try_next().await
        });
        let Some(total) = total.await? else { return Ok(IntentBounds { count: 0, bytes: 0 }) };
        Ok(IntentBounds { count: number(&total, "count")?, bytes: number(&total, "bytes")? })
    }
}

pub(crate) fn document(intent: &Intent) -> RawDocumentBuf {
    let Intent { key, fingerprint, at, seed, answer } = intent;
    let mut row = rawdoc! {
        "_id": bytes(&key.0),
        "fingerprint": bytes(fingerprint),
        "at": date(*at).0,
        "seed": bytes(seed),
        "bytes": length(intent),
    };
    if let Some(answer) = answer {
        row.append(mongodb::bson::raw::cstr!("answer"), bytes(answer));
    }
    row
}

pub(crate) fn intent_of(row: &RawDocument) -> Result<Intent, Failure> {
    let answer = match row.get("answer").map_err(unreadable)? {
        Some(_) => Some(row.get_binary("answer").map_err(unreadable)?.bytes.to_vec()),
        None => None,
    };
    Ok(Intent {
        key: IntentKey(array(row, "_id")?),
        fingerprint: array(row, "fingerprint")?,
        at: timestamp(row.get_datetime("at").map_err(unreadable)?, 0)?,
        seed: array(row, "seed")?,
        answer,
    })
}

fn length(intent: &Intent) -> i64 {
    intent.answer.as_ref().map_or(0, |answer| at_most(answer.len()))
}
