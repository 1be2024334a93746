//! The store that the configuration names, as each part of the platform uses it.

use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use mgx_apps::{Archive, IntentStore, SessionStore};
use mgx_oauth2::Storage;
use mgx_scheduler::{Journal, JournalError};
use mgx_store::{Embedded, MongoDb};
use secrecy::ExposeSecret;

use crate::config::Config;
use crate::data_dir;

/// Either store. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file that one process uses.
    Embedded(Arc<Embedded>),
    /// A MongoDB server that several processes can share.
    MongoDb(Arc<MongoDb>),
}

impl Store {
    /// Opens the store, or makes it at the first start.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = config.store.url.get() {
            let store = MongoDb::open(url.expose_secret(), &config.store.database).await?;
            return Ok(Self::MongoDb(Arc::new(store)));
        }
        let path = config.store.path.clone();
        if path.metadata().map_or(true, |file| file.len() == 0)
            && let Some(trace) = data_dir::trace_of_platform(config)?
        {
            anyhow::bail!(
                "there is no store {}, but {} has {trace}: the store of this platform is lost, or was not copied with the \
                 rest. Put it back, or restore a backup into an empty directory (docs/backup.md); to begin a new platform, \
                 use another data directory",
                path.display(),
                config.server.data_dir.display()
            );
        }
        let open = tokio::task::spawn_blocking(move || Embedded::open(&path, Timestamp::now()));
        Ok(Self::Embedded(Arc::new(open.await.context("the store could not be opened")??)))
    }

    /// The name of this platform, which its containers carry. It never changes.
    pub fn instance(&self) -> &str {
        match self {
            Self::Embedded(store) => store.instance(),
            Self::MongoDb(store) => store.instance(),
        }
    }

    /// The store of jobs and events.
    pub fn journal(&self) -> Arc<dyn Journal> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// The store of sessions.
    pub fn sessions(&self) -> Arc<dyn SessionStore> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// The store of what is exported, imported and removed.
    pub fn archive(&self) -> Arc<dyn Archive> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// The store of idempotency keys.
    pub fn intents(&self) -> Arc<dyn IntentStore> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// The store of accounts.
    pub fn accounts(&self) -> Arc<dyn Storage> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::MongoDb(store) => store.clone(),
        }
    }

    /// Whether the store takes writes. A MongoDB server is not asked: what keeps it from writing keeps it from being read, as
    /// reads need its primary.
    ///
    /// # Errors
    /// Why it takes none.
    pub async fn check_writable(&self) -> Result<(), JournalError> {
        match self {
            Self::Embedded(store) => store.check_writable().await,
            Self::MongoDb(_) => Ok(()),
        }
    }

    /// Resolves with the reason when this process has to end because of the store.
    pub async fn failed(&self) -> String {
        match self {
            Self::Embedded(store) => store.failed().await,
            Self::MongoDb(store) => store.failed().await,
        }
    }

    /// Finishes the pending writes, and closes the store.
    pub async fn close(&self) {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::MongoDb(store) => store.close().await,
        }
    }
}
