//! A process that shares the store with others and waits until it may schedule.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use mgx_oauth2::Provider;
use mgx_store::MongoDb;
use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::handover;
use super::platform::{Platform, RuntimeDecorator};
use crate::config::Config;
use crate::store::Store;

/// How many times a process that has become the leader tries to start scheduling before it ends and leaves that to
/// another one.
const START_TRIES: u32 = 5;

/// How long to wait between two of these tries.
const START_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What a process needs to schedule once it leads.
pub(super) struct Candidate {
    /// Where the other processes reach this one.
    pub(super) address: String,
    pub(super) store: Arc<MongoDb>,
    pub(super) provider: Arc<Provider>,
    pub(super) config: Config,
    pub(super) closing: CancellationToken,
    /// The routes that this process serves: those of the platform, from the moment it leads.
    pub(super) routes: watch::Sender<Router>,
    /// Where the platform is put then.
    pub(super) platform: Arc<SetOnce<Platform>>,
}

impl Candidate {
    /// Waits until no other process schedules, then does so and answers every request itself.
    ///
    /// # Errors
    /// The platform cannot be put together, and another process may do better.
    pub(super) async fn lead(self, decorate: Option<RuntimeDecorator>) -> anyhow::Result<()> {
        let name =
            format!("process {} at {} since {:.0}", std::process::id(), self.address, Timestamp::now());
        self.store.lead(&self.address, &name).await;
        let store = Store::MongoDb(self.store.clone());
        let mut tries = 1..START_TRIES;
        let platform = loop {
            let (provider, closing) = (self.provider.clone(), self.closing.clone());
            match Platform::assemble(&self.config, &store, provider, decorate.as_ref(), closing).await {
                Ok(platform) => break platform,
                // the store may be away for a moment
                Err(error) if tries.next().is_some() => {
                    warn!(error = format!("{error:#}"), "cannot schedule yet, trying again");
                    tokio::time::sleep(START_RETRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        };
        let dir = self.config.server.data_dir.clone();
        handover::keep_when_known(&platform, dir, self.closing);
        drop(self.routes.send_replace(platform.router.clone()));
        self.platform.set(platform).ok();
        info!("this process schedules");
        Ok(())
    }
}
