//! The store on MongoDB as the source and the target of a copy.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mgx_protocol::SessionId;
use mgx_scheduler::{Event, NewEvent};
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use crate::error::Failure;
use crate::migrate::account::Account;
use crate::migrate::{Part, Record, Source, Target};
use crate::mongodb::bson_values::{at_most, number};
use crate::mongodb::collections::accounts::AUDIT;
use crate::mongodb::collections::{accounts, intents};
use crate::mongodb::error::{summary, unreadable};
use crate::mongodb::schema::{COLLECTIONS, META};
use crate::mongodb::{MongoDb, connect, documents, schema};

/// How long a copy waits for the lease.
const LEASE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(6);

/// A MongoDB store that is being filled: its database is marked as such.
#[derive(Debug)]
pub struct MongoDbTarget {
    store: MongoDb,
    /// The states of the session logs, from the records until now.
    logs: HashMap<SessionId, documents::Log>,
    /// The number of the newest entry of the audit log.
    newest_audit: u64,
}

impl MongoDb {
    /// Takes the lease for a copy, so that no process writes meanwhile.
    ///
    /// # Errors
    /// Another process schedules.
    pub async fn lead_for_copy(&self) -> Result<(), String> {
        if timeout(LEASE_TIMEOUT, self.lead("", "a copy of the store")).await.is_ok() {
            return Ok(());
        }
        let by =
            self.leader().await.ok().flatten().map(|leader| format!(" ({})", leader.by)).unwrap_or_default();
        Err(format!("a process schedules with this store{by}: stop every process of the platform"))
    }
}

impl MongoDbTarget {
    /// Begins a store in `database` of the server at `url` for the platform `instance`. The data of an earlier attempt is
    /// removed.
    ///
    /// # Errors
    /// The database has a store or another program's data, or the server cannot be used.
    pub async fn begin(url: &str, database: &str, instance: &str) -> Result<Self, String> {
        let db = connect(url, database).await.map_err(|error| error.to_string())?;
        let failed =
            |error: mongodb::error::Error| format!("cannot create the database: {}", summary(&error));
        let meta = db.collection::<Document>(META);
        let found = meta.find_one(doc! { "_id": "store" }).await.map_err(failed)?;
        let names = db.list_collection_names().await.map_err(failed)?;
        match found {
            Some(found) if found.get_bool("migrating").unwrap_or(false) => {
                for name in COLLECTIONS {
                    db.collection::<Document>(name).drop().await.map_err(failed)?;
                }
            }
            Some(_) => {
                return Err(format!("the database {database} holds a store already: name another one"));
            }
            None if names.iter().any(|name| COLLECTIONS.contains(&name.as_str())) => {
                return Err(format!("the database {database} belongs to another program: name another one"));
            }
            None => {}
        }
        let mut new = schema::fresh(instance);
        new.insert("migrating", true);
        meta.replace_one(doc! { "_id": "store" }, &new).upsert(true).await.map_err(failed)?;
        schema::indexes(&db).await.map_err(failed)?;
        Ok(Self { store: MongoDb::new(db, instance.to_owned()), logs: HashMap::new(), newest_audit: 0 })
    }
}

#[async_trait]
impl Source for MongoDb {
    fn instance(&self) -> &str {
        Self::instance(self)
    }

    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String> {
        let failed = |error: mongodb::error::Error| format!("cannot read the store: {}", summary(&error));
        let order = match part {
            Part::Sessions => doc! { "order": 1 },
            Part::Jobs => doc! { "_id": 1 },
            // without order, which a server could establish only by sorting all of them
            Part::Events | Part::Messages | Part::Intents | Part::Accounts(_) => doc! {},
        };
        let rows = self.collection(part.name());
        let mut found = rows.find(doc! {}).sort(order).batch_size(1000).await.map_err(failed)?;
        while let Some(found) = found.try_next().await.map_err(failed)? {
            let record = record_of(part, &found).map_err(|failure| format!("{failure:?}"))?;
            if out.send(record).await.is_err() {
                // the receiver has failed and returns its own error
                return Ok(());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for MongoDbTarget {
    fn instance(&self) -> &str {
        self.store.instance()
    }

    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String> {
        self.store.export(part, out).await
    }
}

#[async_trait]
impl Target for MongoDbTarget {
    async fn import(&mut self, records: Vec<Record>) -> Result<(), String> {
        let mut rows: HashMap<&str, Vec<RawDocumentBuf>> = HashMap::new();
        for record in records {
            let (name, row) = self.row(record).map_err(|failure| format!("{failure:?}"))?;
            rows.entry(name).or_default().push(row);
        }
        for (name, rows) in rows {
            let insert = self.store.collection(name).insert_many(rows).await;
            insert.map_err(|error| format!("cannot write the store: {}", summary(&error)))?;
        }
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<(), String> {
        let failed = |error: mongodb::error::Error| format!("cannot write the store: {}", summary(&error));
        let logs: Vec<_> = self.logs.iter().map(|(session, log)| log.document(session)).collect();
        for logs in logs.chunks(1000) {
            self.store.collection("logs").insert_many(logs).await.map_err(failed)?;
        }
        let meta = self.store.db.collection::<Document>(META);
        let audited = doc! { "$set": { "number": at_most(self.newest_audit) } };
        meta.update_one(doc! { "_id": AUDIT }, audited).upsert(true).await.map_err(failed)?;
        let done = doc! { "$unset": { "migrating": true } };
        meta.update_one(doc! { "_id": "store" }, done).await.map(drop).map_err(failed)
    }
}

impl MongoDbTarget {
    fn row(&mut self, record: Record) -> Result<(&'static str, RawDocumentBuf), Failure> {
        match record {
            Record::Session(session) => Ok(("sessions", documents::session(&session, Uuid::now_v7()))),
            Record::Job(job) => {
                self.logs.entry(job.session.clone()).or_default().add_job(&job);
                Ok(("jobs", documents::job(&job)?))
            }
            Record::Event(event, source) => {
                let Event { seq, at, session, job, attempt, kind, agent, data } = *event;
                self.logs.entry(session.clone()).or_default().add_event(seq, at);
                let event = NewEvent { at, job, attempt, source, kind, agent, data };
                Ok(("events", documents::event(&session, seq, &event)?))
            }
            Record::Message(message) => Ok(("messages", documents::message(&message)?)),
            Record::Intent(intent) => Ok(("intents", intents::document(&intent))),
            Record::Account(account) => {
                if let Account::Audit(number, _) = &*account {
                    self.newest_audit = self.newest_audit.max(*number);
                }
                accounts::records::document(*account)
            }
        }
    }
}

fn record_of(part: Part, found: &RawDocument) -> Result<Record, Failure> {
    Ok(match part {
        Part::Sessions => Record::Session(Box::new(documents::session_of(found)?)),
        Part::Jobs => Record::Job(Box::new(documents::job_of(found)?)),
        Part::Events => {
            let has_source = found.get("source").map_err(unreadable)?.is_some();
            let source = if has_source { Some(number(found, "source")?) } else { None };
            Record::Event(Box::new(documents::event_of(found)?), source)
        }
        Part::Messages => Record::Message(Box::new(documents::message_of(found)?)),
        Part::Intents => Record::Intent(Box::new(intents::intent_of(found)?)),
        Part::Accounts(part) => Record::Account(Box::new(accounts::records::account_of(part, found)?)),
    })
}
