//! Either store, by what the platform wants of it.

use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use mgx_apps::{Archive, IntentStore, SessionStore};
use mgx_oauth2::Storage;
use mgx_scheduler::Journal;
use mgx_store::{Embedded, MongoDb};
use secrecy::ExposeSecret;

use crate::config::Config;

/// The store that the configuration names. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file of this process.
    Embedded(Arc<Embedded>),
    /// A server that several processes share.
    MongoDb(Arc<MongoDb>),
}

impl Store {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// What the operator has to change.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = config.store.url.get() {
            let store = MongoDb::open(url.expose_secret(), &config.store.database).await?;
            return Ok(Self::MongoDb(Arc::new(store)));
        }
        let path = config.store.path.clone();
        let open = tokio::task::spawn_blocking(move || Embedded::open(&path, Timestamp::now()));
        Ok(Self::Embedded(Arc::new(open.await.context("the store could not be opened")??)))
    }

    /// A name for this platform, the same ever after.
    pub fn instance(&self) -> &str {
        match self {
            Self::Embedded(store) => store.instance(),
            Self::MongoDb(store) => store.instance(),
        }
    }

    /// Jobs and events.
    pub fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// Sessions.
    pub fn sessions(&self) -> Arc<dyn SessionStore> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// Sessions that are over.
    pub fn archive(&self) -> Arc<dyn Archive> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// Requests that are to be done once.
    pub fn intents(&self) -> Arc<dyn IntentStore> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// Accounts.
    pub fn accounts(&self) -> Arc<dyn Storage> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// Resolves when the process has to end, and says why.
    pub async fn failed(&self) -> String {
        match self {
            Self::Embedded(store) => store.failed().await,
            Self::MongoDb(store) => store.failed().await,
        }
    }

    /// Finishes the writes that wait, and lets go of it.
    pub async fn close(&self) {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::MongoDb(store) => store.close().await,
        }
    }
}
