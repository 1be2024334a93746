//! The store on MongoDB as a whole, to be copied from and into.

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mgx_protocol::SessionId;
use mgx_scheduler::{Event, NewEvent};
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::accounts::AUDIT;
use super::document::{at_most, number};
use super::error::{Fault, short};
use super::schema::{COLLECTIONS, META};
use super::{MongoDb, accounts, connect, intents, row, schema};
use crate::account::Account;
use crate::migrate::{Part, Record, Source, Target};

/// How long whoever schedules may take to let go of the store.
const LEASE: std::time::Duration = std::time::Duration::from_secs(6);

/// A store in the making: a database that says so of itself.
#[derive(Debug)]
pub struct MongoDbTarget {
    store: MongoDb,
    /// Where the logs stand, as far as events and jobs are there.
    logs: HashMap<SessionId, row::Log>,
    /// The number of the newest entry of the audit log.
    audited: u64,
}

impl MongoDb {
    /// Takes the lease for a copy, so that nobody writes meanwhile.
    ///
    /// # Errors
    /// Another process schedules.
    pub async fn lead_a_copy(&self) -> Result<(), String> {
        if timeout(LEASE, self.lead("", "a copy of the store")).await.is_ok() {
            return Ok(());
        }
        let by =
            self.leader().await.ok().flatten().map(|leader| format!(" ({})", leader.by)).unwrap_or_default();
        Err(format!("a process schedules with this store{by}: stop every process of the platform"))
    }
}

impl MongoDbTarget {
    /// Begins to make a store in `database` of the server at `url`, of the platform `instance`. What an earlier attempt
    /// has left is removed.
    ///
    /// # Errors
    /// There is a store already, or another program's data, or the server cannot be used.
    pub async fn begin(url: &str, database: &str, instance: &str) -> Result<Self, String> {
        let db = connect(url, database).await.map_err(|error| error.to_string())?;
        let failed = |error: mongodb::error::Error| format!("the database cannot be made: {}", short(&error));
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
        Ok(Self { store: MongoDb::over(db, instance.to_owned()), logs: HashMap::new(), audited: 0 })
    }
}

#[async_trait]
impl Source for MongoDb {
    fn instance(&self) -> &str {
        Self::instance(self)
    }

    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String> {
        let failed = |error: mongodb::error::Error| format!("the store cannot be read: {}", short(&error));
        let order = match part {
            Part::Sessions => doc! { "order": 1 },
            Part::Jobs => doc! { "_id": 1 },
            // in no order: a server would have to sort them all
            Part::Events | Part::Intents | Part::Accounts(_) => doc! {},
        };
        let rows = self.rows(part.name());
        let mut found = rows.find(doc! {}).sort(order).batch_size(1000).await.map_err(failed)?;
        while let Some(found) = found.try_next().await.map_err(failed)? {
            let record = record_of(part, &found).map_err(|fault| format!("{fault:?}"))?;
            if out.send(record).await.is_err() {
                // whoever listened has failed, and says so
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
            let (name, row) = self.row(record).map_err(|fault| format!("{fault:?}"))?;
            rows.entry(name).or_default().push(row);
        }
        for (name, rows) in rows {
            let insert = self.store.rows(name).insert_many(rows).await;
            insert.map_err(|error| format!("the store cannot be written: {}", short(&error)))?;
        }
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<(), String> {
        let failed = |error: mongodb::error::Error| format!("the store cannot be written: {}", short(&error));
        let logs: Vec<_> = self.logs.iter().map(|(session, log)| log.row(session)).collect();
        for logs in logs.chunks(1000) {
            self.store.rows("logs").insert_many(logs).await.map_err(failed)?;
        }
        let meta = self.store.db.collection::<Document>(META);
        let audited = doc! { "$set": { "number": at_most(self.audited) } };
        meta.update_one(doc! { "_id": AUDIT }, audited).upsert(true).await.map_err(failed)?;
        let done = doc! { "$unset": { "migrating": true } };
        meta.update_one(doc! { "_id": "store" }, done).await.map(drop).map_err(failed)
    }
}

impl MongoDbTarget {
    fn row(&mut self, record: Record) -> Result<(&'static str, RawDocumentBuf), Fault> {
        match record {
            Record::Session(session) => Ok(("sessions", row::session(&session, Uuid::now_v7()))),
            Record::Job(job) => {
                self.logs.entry(job.session.clone()).or_default().take_job(&job);
                Ok(("jobs", row::job(&job)?))
            }
            Record::Event(event, source) => {
                let Event { seq, at, session, job, attempt, kind, agent, data } = *event;
                self.logs.entry(session.clone()).or_default().take_event(seq, at);
                let event = NewEvent { at, job, attempt, source, kind, agent, data };
                Ok(("events", row::event(&session, seq, &event)?))
            }
            Record::Intent(intent) => Ok(("intents", intents::row(&intent))),
            Record::Account(account) => {
                if let Account::Audit(number, _) = &*account {
                    self.audited = self.audited.max(*number);
                }
                accounts::kept::row(*account)
            }
        }
    }
}

fn record_of(part: Part, found: &RawDocument) -> Result<Record, Fault> {
    Ok(match part {
        Part::Sessions => Record::Session(Box::new(row::session_of(found)?)),
        Part::Jobs => Record::Job(Box::new(row::job_of(found)?)),
        Part::Events => {
            let has_source = found.get("source").map_err(Fault::unreadable)?.is_some();
            let source = if has_source { Some(number(found, "source")?) } else { None };
            Record::Event(Box::new(row::event_of(found)?), source)
        }
        Part::Intents => Record::Intent(Box::new(intents::intent_of(found)?)),
        Part::Accounts(part) => Record::Account(Box::new(accounts::kept::account_of(part, found)?)),
    })
}
