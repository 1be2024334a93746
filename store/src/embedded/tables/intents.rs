//! [`IntentStore`] on SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_apps::{Intent, IntentBounds, IntentKey, IntentStore, Recorded, StoreError};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::embedded::Embedded;
use crate::embedded::columns::{at_most, count};

#[async_trait]
impl IntentStore for Embedded {
    async fn record(
        &self,
        intent: &Intent,
        since: Timestamp,
        bounds: IntentBounds,
    ) -> Result<Recorded, StoreError> {
        let intent = intent.clone();
        Ok(self.writer.write(move |db| record(db, &intent, since, bounds)).await?)
    }

    async fn answer(&self, intent: &Intent, answer: Vec<u8>) -> Result<bool, StoreError> {
        let (key, seed) = (intent.key, intent.seed);
        let kept = move |db: &Connection| db.prepare_cached(ANSWER)?.execute(params![key.0, seed, answer]);
        Ok(self.writer.write(kept).await? == 1)
    }

    async fn withdraw(&self, intent: &Intent) -> Result<bool, StoreError> {
        let (key, seed) = (intent.key, intent.seed);
        let removed = move |db: &Connection| db.prepare_cached(WITHDRAW)?.execute(params![key.0, seed]);
        Ok(self.writer.write(removed).await? == 1)
    }

    async fn forget_intents(&self, since: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let oldest = [since.as_millisecond(), at_most(limit)];
        Ok(self.writer.write(move |db| db.prepare_cached(FORGET)?.execute(oldest)).await?)
    }
}

const ONE: &str = "SELECT key, fingerprint, at, seed, answer FROM intents WHERE key = ?1";

const TOTAL: &str = "SELECT count, bytes FROM intents_total";

const INSERT: &str = "INSERT INTO intents (key, fingerprint, at, seed, answer) VALUES (?1, ?2, ?3, ?4, ?5)";

/// The seed identifies the intent: a later one may have the same key.
const ANSWER: &str = "UPDATE intents SET answer = ?3 WHERE key = ?1 AND seed = ?2";

const WITHDRAW: &str = "DELETE FROM intents WHERE key = ?1 AND seed = ?2 AND answer IS NULL";

const FORGET: &str = "DELETE FROM intents
    WHERE number IN (SELECT number FROM intents WHERE at < ?1 ORDER BY at LIMIT ?2)";

/// The queries whose time must not grow with the store.
#[cfg(test)]
pub(crate) const HOT: [&str; 4] = [ONE, ANSWER, WITHDRAW, FORGET];

fn record(
    db: &Connection,
    intent: &Intent,
    since: Timestamp,
    bounds: IntentBounds,
) -> rusqlite::Result<Recorded> {
    if let Some(stored) = db.prepare_cached(ONE)?.query_one([intent.key.0], intent_of).optional()? {
        if stored.at >= since {
            return Ok(Recorded::Existing(stored));
        }
        db.prepare_cached("DELETE FROM intents WHERE key = ?1")?.execute([intent.key.0])?;
    }
    let total = |row: &Row<'_>| Ok(IntentBounds { count: count(row, 0)?, bytes: count(row, 1)? });
    let total = db.prepare_cached(TOTAL)?.query_one([], total)?;
    if total.count >= bounds.count || total.bytes >= bounds.bytes {
        return Ok(Recorded::Full);
    }
    insert(db, intent)?;
    Ok(Recorded::New)
}

pub(crate) fn insert(db: &Connection, intent: &Intent) -> rusqlite::Result<()> {
    let Intent { key, fingerprint, at, seed, answer } = intent;
    let row = params![key.0, fingerprint, at.as_millisecond(), seed, answer];
    db.prepare_cached(INSERT)?.execute(row).map(drop)
}

pub(crate) fn intent_of(row: &Row<'_>) -> rusqlite::Result<Intent> {
    let wrong =
        |error: jiff::Error| rusqlite::Error::FromSqlConversionFailure(2, Type::Integer, Box::new(error));
    Ok(Intent {
        key: IntentKey(row.get(0)?),
        fingerprint: row.get(1)?,
        at: Timestamp::from_millisecond(row.get(2)?).map_err(wrong)?,
        seed: row.get(3)?,
        answer: row.get(4)?,
    })
}
