//! The schema of the database: its collections, their indexes, and its version.

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::error::Error;
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database};
use ring::rand::{SecureRandom, SystemRandom};

use crate::mongodb::connect_error::ConnectError;
use crate::mongodb::error::{collection_exists, is_duplicate, summary};

/// The schema that this binary writes. A new version needs a migration from every earlier one.
const VERSION: i64 = 1;

/// The age at which the server itself deletes an intent.
const INTENT_LIFETIME: Duration = Duration::from_hours(48);

/// Every collection but [`META`]:
///
/// | collection | one document is | `_id` |
/// |---|---|---|
/// | `sessions` | a session, with its usage | its id |
/// | `logs` | the state of a session log: its newest number, its live jobs, its oldest number, and the time of the newest event if older ones may be removed | the session's id |
/// | `events` | an event | made of job, attempt and the agent's number: the same event twice is the same id |
/// | `messages` | a message of a conversation, which stays when its event is removed | that of its event |
/// | `jobs` | a job: the fields of queries, and `body` with all of it as JSON | its id |
/// | `intents` | an idempotent request | its key |
/// | `users`, `clients`, `api_tokens`, `consents`, `grants`, `browsers`, `devices`, `revoked_tokens`, `audit` | a record of the OAuth 2 provider: the fields of queries, and `body` with all of it as JSON | its id |
/// | `leases` | the process that schedules, and the epoch whose transactions are accepted | `scheduler`, `fence` |
///
/// `logs` is separate from `sessions` because the scheduler writes the former and requests to the model write the latter:
/// in one document the writes would conflict.
pub(crate) const COLLECTIONS: [&str; 16] = [
    "sessions",
    "logs",
    "events",
    "messages",
    "jobs",
    "intents",
    "users",
    "clients",
    "api_tokens",
    "consents",
    "grants",
    "browsers",
    "devices",
    "revoked_tokens",
    "audit",
    "leases",
];

/// The collections whose documents expire, and the field with the time: the server deletes them afterwards.
pub(crate) const EXPIRING: [(&str, &str); 4] = [
    ("grants", "expires_at"),
    ("browsers", "expires_at"),
    ("devices", "expires_at"),
    ("revoked_tokens", "until"),
];

/// The collection with the name of the platform and the version of the schema, and with the number of the newest entry of
/// the audit log.
pub(crate) const META: &str = "meta";

/// The document of the store in [`META`].
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// The name of the platform.
    pub(crate) instance: String,
}

/// Creates the store if the database is empty; otherwise checks that it is a store of this platform.
pub(crate) async fn open(db: &Database) -> Result<Meta, ConnectError> {
    let failed =
        |error: Error| ConnectError::Unreachable { hosts: db.name().to_owned(), reason: summary(&error) };
    let meta: Collection<Document> = db.collection(META);
    let found = meta.find_one(doc! { "_id": "store" }).await.map_err(failed)?;
    let found = match found {
        Some(found) => found,
        None => create(db, &meta).await?,
    };
    if found.get_bool("migrating").unwrap_or(false) {
        return Err(ConnectError::HalfMigrated(db.name().to_owned()));
    }
    let version = found.get_i64("schema").unwrap_or_default();
    if version > VERSION {
        let (found, supported) = (version.unsigned_abs(), VERSION.unsigned_abs());
        return Err(ConnectError::Newer { database: db.name().to_owned(), found, supported });
    }
    indexes(db).await.map_err(failed)?;
    Ok(Meta { instance: found.get_str("instance").unwrap_or_default().to_owned() })
}

async fn create(db: &Database, meta: &Collection<Document>) -> Result<Document, ConnectError> {
    let failed =
        |error: Error| ConnectError::Unreachable { hosts: db.name().to_owned(), reason: summary(&error) };
    let names = db.list_collection_names().await.map_err(failed)?;
    if names.iter().any(|name| COLLECTIONS.contains(&name.as_str())) {
        return Err(ConnectError::Foreign(db.name().to_owned()));
    }
    let new = fresh(&random_name());
    match meta.insert_one(&new).await {
        Ok(_) => Ok(new),
        // another process has created it meanwhile
        Err(error) if is_duplicate(&error) => {
            Ok(meta.find_one(doc! { "_id": "store" }).await.map_err(failed)?.unwrap_or(new))
        }
        Err(error) => Err(failed(error)),
    }
}

/// The document of a new store.
pub(crate) fn fresh(instance: &str) -> Document {
    doc! { "_id": "store", "schema": VERSION, "instance": instance }
}

/// Twelve random characters of `a-f0-9`.
fn random_name() -> String {
    let mut random = [0; 6];
    // the name must differ from that of another platform on the same engine; without random bytes the clock has to do
    if SystemRandom::new().fill(&mut random).is_err() {
        random.copy_from_slice(&jiff::Timestamp::now().as_nanosecond().to_be_bytes()[10..]);
    }
    let number = random.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:012x}")
}

/// Creates the missing collections, which transactions need, and their indexes.
pub(crate) async fn indexes(db: &Database) -> Result<(), Error> {
    for name in COLLECTIONS {
        match db.create_collection(name).await {
            Err(error) if !collection_exists(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let index = |keys: Document| IndexModel::builder().keys(keys).build();
    let with =
        |keys: Document, options: IndexOptions| IndexModel::builder().keys(keys).options(options).build();
    let unique = || IndexOptions::builder().unique(true).build();
    let unfinished = || IndexOptions::builder().partial_filter_expression(doc! { "ended": false }).build();
    let known = || IndexOptions::builder().unique(true).sparse(true).build();
    let forgotten = IndexOptions::builder().expire_after(INTENT_LIFETIME).build();
    let all = [
        ("sessions", vec![with(doc! { "order": 1 }, unique()), index(doc! { "creator": 1, "order": 1 })]),
        ("logs", vec![with(doc! { "newest": 1 }, IndexOptions::builder().sparse(true).build())]),
        ("events", vec![with(doc! { "session_id": 1, "seq": 1 }, unique())]),
        ("messages", vec![with(doc! { "session_id": 1, "seq": 1 }, unique())]),
        (
            "jobs",
            vec![
                index(doc! { "session_id": 1, "_id": 1 }),
                index(doc! { "user": 1, "_id": 1 }),
                index(doc! { "state": 1, "_id": 1 }),
                with(doc! { "ended": 1 }, unfinished()),
            ],
        ),
        ("intents", vec![with(doc! { "at": 1 }, forgotten)]),
        ("users", vec![with(doc! { "username": 1 }, unique())]),
        ("api_tokens", vec![with(doc! { "digest": 1 }, unique()), index(doc! { "user": 1 })]),
        ("consents", vec![index(doc! { "user": 1 }), index(doc! { "client": 1 })]),
        (
            "grants",
            vec![
                index(doc! { "user": 1 }),
                index(doc! { "client": 1 }),
                with(doc! { "browser": 1 }, IndexOptions::builder().sparse(true).build()),
                with(doc! { "family": 1 }, known()),
                with(doc! { "code": 1 }, known()),
            ],
        ),
        ("browsers", vec![with(doc! { "cookie": 1 }, unique()), index(doc! { "user": 1 })]),
        ("devices", vec![with(doc! { "digest": 1 }, unique()), index(doc! { "client": 1 })]),
    ];
    for (name, models) in all {
        db.collection::<Document>(name).create_indexes(models).await?;
    }
    for (name, end) in EXPIRING {
        let at_once = IndexOptions::builder().expire_after(Duration::ZERO).build();
        db.collection::<Document>(name).create_index(with(doc! { end: 1 }, at_once)).await?;
    }
    Ok(())
}
