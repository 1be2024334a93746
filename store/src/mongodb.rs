//! The store on a MongoDB server, which several processes of one platform share.
//!
//! Read [`MongoDb`], then `schema`, `lease`, `writer`, `plan`, `transaction`, `stage`, in that order; `accounts` stands by itself.

mod accounts;
mod archive;
mod document;
mod error;
mod housework;
mod intents;
mod journal;
mod lease;
mod plan;
mod portable;
mod row;
mod schema;
mod sessions;
mod stage;
mod transaction;
mod watch;
mod writer;

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, ServerAddress, WriteConcern};
use mongodb::{Client, Collection, Database};
use tokio::sync::watch::Sender;
use tokio::time::timeout;

pub use error::ConnectError;
pub use lease::Leader;
pub use portable::MongoDbTarget;
pub use watch::Ear;

use error::{Fault, short};
use intents::Total;
use writer::Writer;

/// How long a server is looked for before it counts as away.
const FIND: Duration = Duration::from_secs(2);

/// How long one request to the server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The durable store of one platform, as [`mgx_scheduler::Journal`], [`mgx_apps::SessionStore`], [`mgx_apps::Archive`],
/// [`mgx_apps::IntentStore`] and [`mgx_oauth2::Storage`].
///
/// A write that has returned `Ok` is in the journals of a majority of the servers. Any number of processes may have the
/// store open, read it and write accounts; the one that [`lead`](Self::lead)s writes jobs and events. When another one leads in its
/// place, every such write fails and [`failed`](Self::failed) resolves.
#[derive(Debug)]
pub struct MongoDb {
    instance: String,
    db: Database,
    writer: OnceLock<Writer>,
    failure: Sender<Option<String>>,
    intents: Total,
}

impl MongoDb {
    /// Opens the store in `database` of the server at `url`, or makes it. Waits some seconds for a server that is away.
    ///
    /// # Errors
    /// [`ConnectError`]: there is no such server, or the database is not one that this binary can use.
    pub async fn open(url: &str, database: &str) -> Result<Self, ConnectError> {
        let db = connect(url, database).await?;
        let opened = timeout(PATIENCE * 2, schema::open(&db)).await;
        let meta = opened.map_err(|_| ConnectError::Unreachable {
            hosts: hosts(url),
            reason: "it does not answer in time".to_owned(),
        })??;
        Ok(Self::over(db, meta.instance))
    }

    fn over(db: Database, instance: String) -> Self {
        let (writer, failure) = (OnceLock::new(), Sender::new(None));
        Self { instance, db, writer, failure, intents: Total::default() }
    }

    /// A name for this platform: twelve of `a-z0-9`, made at random with the store and the same ever after. Containers
    /// carry it as a label, so that two platforms on one engine leave each other's alone.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Waits until nobody leads, then leads: from then on this process, and no other, writes jobs and events.
    /// `address` is where it answers, `by` says who it is, for people. Leading twice is the same as once.
    pub async fn lead(&self, address: &str, by: &str) {
        if self.writer.get().is_none() {
            let held = lease::take(&self.db, address, by).await;
            tracing::info!(epoch = held.epoch, "this process has the lease");
            self.writer.set(Writer::start(self.db.clone(), held, self.failure.clone())).ok();
        }
    }

    /// Who leads, if somebody does.
    ///
    /// # Errors
    /// The server cannot be read.
    pub async fn leader(&self) -> Result<Option<Leader>, mgx_scheduler::JournalError> {
        Ok(lease::leader(&self.db).await?)
    }

    /// Resolves when this process must not lead any more, and says why; never otherwise. End the process then.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
        match reason {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await,
        }
    }

    /// Finishes the writes that wait, and gives the lease back.
    pub async fn close(&self) {
        if let Some(writer) = self.writer.get() {
            writer.close().await;
        }
    }

    fn writer(&self) -> Result<&Writer, Fault> {
        self.writer.get().ok_or_else(|| Fault::Unavailable("this process does not schedule".to_owned()))
    }

    fn rows(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.db.collection(name)
    }
}

/// The database, on a server that can do what we need.
async fn connect(url: &str, database: &str) -> Result<Database, ConnectError> {
    let mut options =
        ClientOptions::parse(url).await.map_err(|error| ConnectError::Address(short(&error)))?;
    options.app_name.get_or_insert_with(|| "mgx".to_owned());
    options.server_selection_timeout.get_or_insert(FIND);
    options.connect_timeout.get_or_insert(FIND);
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    let unreachable = |error: Error| ConnectError::Unreachable { hosts: hosts(url), reason: short(&error) };
    let client = Client::with_options(options).map_err(|error| ConnectError::Address(short(&error)))?;
    let admin = client.database("admin");
    let hello = timeout(PATIENCE, async { admin.run_command(doc! { "hello": 1 }).await }).await;
    let hello =
        hello.unwrap_or_else(|_| Err(Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut))));
    let hello = hello.map_err(unreachable)?;
    // a replica set, or the router of a sharded cluster
    if hello.get("setName").is_none() && hello.get_str("msg").ok() != Some("isdbgrid") {
        return Err(ConnectError::NoTransactions(hosts(url)));
    }
    Ok(client.database(database))
}

/// Where a server is looked for, without the password that the address may have.
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

/// One request, as long as that may take.
async fn in_time<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::late()),
    }
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
