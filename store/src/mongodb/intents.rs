//! Requests that are to be done once, on MongoDB.

use std::sync::Mutex;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mgx_apps::{Intent, IntentBounds, IntentKey, IntentStore, Recorded, StoreError};
use mongodb::bson::{RawDocument, RawDocumentBuf, doc, rawdoc};
use mongodb::options::ReturnDocument;
use tokio::sync::OnceCell;

use super::document::{array, at_most, bytes, date, moment, number};
use super::error::{Fault, is_duplicate};
use super::{MongoDb, in_time};

/// How much is remembered, counted once and kept up by the process that leads, which is the only one that writes here.
#[derive(Debug, Default)]
pub(super) struct Total(OnceCell<Mutex<IntentBounds>>);

#[async_trait]
impl IntentStore for MongoDb {
    async fn record(
        &self,
        intent: &Intent,
        since: Timestamp,
        bounds: IntentBounds,
    ) -> Result<Recorded, StoreError> {
        if let Some(known) = self.known_intent(intent.key).await? {
            let intent = intent_of(&known)?;
            if intent.at >= since {
                return Ok(Recorded::Existing(intent));
            }
            // whoever removes it gives back its place
            let old = doc! { "_id": bytes(&intent.key.0), "seed": bytes(&intent.seed) };
            let removed = in_time(async { self.rows("intents").delete_one(old).await }).await?;
            if removed.deleted_count == 1 {
                self.change_total(-1, -length(&intent)).await?;
            }
        }
        let total = self.total().await?;
        if total.count >= bounds.count || total.bytes >= bounds.bytes {
            return Ok(Recorded::Full);
        }
        let inserted = in_time(async {
            match self.rows("intents").insert_one(row(intent)).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if inserted.await? {
            self.change_total(1, length(intent)).await?;
            return Ok(Recorded::New);
        }
        let known = self.known_intent(intent.key).await?;
        let known =
            known.ok_or_else(|| Fault::Unavailable("an intent came and went: ask again".to_owned()))?;
        Ok(Recorded::Existing(intent_of(&known)?))
    }

    async fn answer(&self, intent: &Intent, answer: Vec<u8>) -> Result<bool, StoreError> {
        // the seed says that it is the same one, and not one of the same name that came after it
        let same = doc! { "_id": bytes(&intent.key.0), "seed": bytes(&intent.seed) };
        let length = at_most(answer.len());
        let set = doc! { "$set": { "answer": bytes(&answer), "bytes": length } };
        let before = in_time(async {
            let intents = self.rows("intents");
            let update = intents.find_one_and_update(same, set);
            update.projection(doc! { "bytes": 1 }).return_document(ReturnDocument::Before).await
        });
        let Some(before) = before.await? else { return Ok(false) };
        self.change_total(0, length - at_most(number(&before, "bytes")?)).await?;
        Ok(true)
    }

    async fn forget_intents(&self, since: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let old = doc! { "at": { "$lt": date(since).0 } };
        let oldest = in_time(async {
            let intents = self.rows("intents");
            let found = intents.find(old).projection(doc! { "bytes": 1 });
            found.sort(doc! { "at": 1 }).limit(at_most(limit)).await?.try_collect::<Vec<_>>().await
        });
        let mut forgotten = 0;
        for row in oldest.await? {
            let one = doc! { "_id": row.get_binary("_id").map_err(Fault::unreadable)?.to_binary() };
            let removed = in_time(async { self.rows("intents").delete_one(one).await }).await?;
            if removed.deleted_count == 1 {
                self.change_total(-1, -at_most(number(&row, "bytes")?)).await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}

impl MongoDb {
    async fn known_intent(&self, key: IntentKey) -> Result<Option<RawDocumentBuf>, Fault> {
        in_time(async { self.rows("intents").find_one(doc! { "_id": bytes(&key.0) }).await }).await
    }

    async fn total(&self) -> Result<IntentBounds, Fault> {
        let total =
            self.intents.0.get_or_try_init(async || self.count_intents().await.map(Mutex::new)).await?;
        Ok(*total.lock().expect("nothing panics while it holds this lock"))
    }

    async fn change_total(&self, count: i64, bytes: i64) -> Result<(), Fault> {
        self.total().await?;
        if let Some(total) = self.intents.0.get() {
            let mut total = total.lock().expect("nothing panics while it holds this lock");
            total.count = total.count.saturating_add_signed(count);
            total.bytes = total.bytes.saturating_add_signed(bytes);
        }
        Ok(())
    }

    async fn count_intents(&self) -> Result<IntentBounds, Fault> {
        let all =
            doc! { "$group": { "_id": null, "count": { "$sum": 1_i64 }, "bytes": { "$sum": "$bytes" } } };
        let total = in_time(async {
            let intents = self.rows("intents");
            intents.aggregate([all]).with_type::<RawDocumentBuf>().await?.try_next().await
        });
        let Some(total) = total.await? else { return Ok(IntentBounds { count: 0, bytes: 0 }) };
        Ok(IntentBounds { count: number(&total, "count")?, bytes: number(&total, "bytes")? })
    }
}

pub(super) fn row(intent: &Intent) -> RawDocumentBuf {
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

pub(super) fn intent_of(row: &RawDocument) -> Result<Intent, Fault> {
    let answer = match row.get("answer").map_err(Fault::unreadable)? {
        Some(_) => Some(row.get_binary("answer").map_err(Fault::unreadable)?.bytes.to_vec()),
        None => None,
    };
    Ok(Intent {
        key: IntentKey(array(row, "_id")?),
        fingerprint: array(row, "fingerprint")?,
        at: moment(row.get_datetime("at").map_err(Fault::unreadable)?, 0)?,
        seed: array(row, "seed")?,
        answer,
    })
}

fn length(intent: &Intent) -> i64 {
    intent.answer.as_ref().map_or(0, |answer| at_most(answer.len()))
}
