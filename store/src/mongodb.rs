//! The store on a MongoDB server, which several processes of one platform share.
//!
//! Read [`MongoDb`], then `schema`, `lease`, `writer`, `writer/transaction`, `writer/group_plan`, `writer/group_write`, in
//! that order.
//! `collections/accounts` is independent of them: every process writes accounts.

mod bson_values;
mod collections;
pub(crate) mod connect_error;
pub(crate) mod copy;
mod documents;
mod error;
pub(crate) mod event_watch;
pub(crate) mod lease;
mod request;
mod schema;
mod writer;

use std::sync::OnceLock;
use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, ServerAddress, WriteConcern};
use mongodb::{Client, Collection, Database};
use tokio::time::timeout;

use crate::error::Failure;
use crate::fatal::FatalSignal;
use crate::mongodb::collections::intents::intent_total::IntentTotal;
use crate::mongodb::connect_error::ConnectError;
use crate::mongodb::error::summary;
use crate::mongodb::lease::Leader;
use crate::mongodb::request::REQUEST_TIMEOUT;
use crate::mongodb::writer::Writer;

/// How long the driver looks for a server before it is unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The durable store of one platform, as [`mgx_scheduler::Journal`], [`mgx_apps::SessionStore`], [`mgx_apps::Archive`],
/// [`mgx_apps::IntentStore`] and [`mgx_oauth2::Storage`].
///
/// A write that has returned `Ok` is in the journals of a majority of the servers. Any number of processes may have the
/// store open, read it and write accounts; the one that [`lead`](Self::lead)s writes jobs and events. When another process
/// has taken the lease, every such write fails and [`failed`](Self::failed) resolves.
#[derive(Debug)]
pub struct MongoDb {
    instance: String,
    db: Database,
    writer: OnceLock<Writer>,
    fatal: FatalSignal,
    intent_total: IntentTotal,
}

impl MongoDb {
    /// Opens the store in `database` of the server at `url`, or creates it. Waits some seconds for a server that is
    /// unreachable.
    ///
    /// # Errors
    /// [`ConnectError`]: there is no such server, or the database is not one that this binary can use.
    pub async fn open(url: &str, database: &str) -> Result<Self, ConnectError> {
        let db = connect(url, database).await?;
        let opened = timeout(REQUEST_TIMEOUT * 2, schema::open(&db)).await;
        let meta = opened.map_err(|_| ConnectError::Unreachable {
            hosts: hosts(url),
            reason: "it does not answer in time".to_owned(),
        })??;
        Ok(Self::new(db, meta.instance))
    }

    fn new(db: Database, instance: String) -> Self {
        let (writer, fatal) = (OnceLock::new(), FatalSignal::new());
        Self { instance, db, writer, fatal, intent_total: IntentTotal::default() }
    }

    /// The name of this platform: twelve random characters of `a-z0-9`, created with the store and never changed.
    /// Containers have it as a label, so that two platforms on one engine do not touch each other's.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Waits until no process leads, then leads: from then on only this process writes jobs and events. `address` is the
    /// address of this process, `by` a description of it for people. A second call has no effect.
    pub async fn lead(&self, address: &str, by: &str) {
        if self.writer.get().is_none() {
            let held = lease::take(&self.db, address, by).await;
            tracing::info!(epoch = held.epoch, "this process has the lease");
            self.writer.set(Writer::start(self.db.clone(), held, self.fatal.clone())).ok();
        }
    }

    /// The process that leads, if there is one.
    ///
    /// # Errors
    /// The server cannot be read.
    pub async fn leader(&self) -> Result<Option<Leader>, mgx_scheduler::JournalError> {
        Ok(lease::leader(&self.db).await?)
    }

    /// Resolves when this process must not lead any more, with the reason; never otherwise. The process has to end then.
    pub async fn failed(&self) -> String {
        self.fatal.wait().await
    }

    /// Commits the queued writes, and releases the lease.
    pub async fn close(&self) {
        if let Some(writer) = self.writer.get() {
            writer.close().await;
        }
    }

    fn writer(&self) -> Result<&Writer, Failure> {
        self.writer.get().ok_or_else(|| Failure::Unavailable("this process does not schedule".to_owned()))
    }

    fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.db.collection(name)
    }
}

/// Connects to the database, on a server that has transactions.
async fn connect(url: &str, database: &str) -> Result<Database, ConnectError> {
    let mut options =
        ClientOptions::parse(url).await.map_err(|error| ConnectError::Address(summary(&error)))?;
    options.app_name.get_or_insert_with(|| "mgx".to_owned());
    options.server_selection_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    let unreachable = |error: Error| ConnectError::Unreachable { hosts: hosts(url), reason: summary(&error) };
    let client = Client::with_options(options).map_err(|error| ConnectError::Address(summary(&error)))?;
    let admin = client.database("admin");
    let hello = timeout(REQUEST_TIMEOUT, async { admin.run_command(doc! { "hello": 1 }).await }).await;
    let hello =
        hello.unwrap_or_else(|_| Err(Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut))));
    let hello = hello.map_err(unreachable)?;
    // a replica set, or the router of a sharded cluster
    if hello.get("setName").is_none() && hello.get_str("msg").ok() != Some("isdbgrid") {
        return Err(ConnectError::NoTransactions(hosts(url)));
    }
    Ok(client.database(database))
}

/// The hosts of a connection string, without the password that it may contain.
fn hosts(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    let known = |host: &str| ServerAddress::parse(host).map(|address| address.to_string());
    hosts
        .split(',')
        .map(|host| known(host).unwrap_or_else(|_| host.to_owned()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(hosts("mongodb://mgx:s3cret@db-1:27017,db-2/mgx?replicaSet=rs"), "db-1:27017, db-2:27017");
        assert_eq!(hosts("mongodb://localhost"), "localhost:27017");
    }
}
