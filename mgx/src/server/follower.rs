//! A process that shares the store and does not schedule: it serves event streams itself, and forwards every other
//! request to the process that schedules.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use mgx_api::Gate;
use mgx_api::forward_to_leader;
use mgx_oauth2::Provider;
use mgx_protocol::SessionId;
use mgx_scheduler::{EventLog, JobReader};
use mgx_store::{EventListener, MongoDb};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::platform::{self, Parts};
use crate::config::Config;
use crate::engine::users;
use crate::store::Store;

/// How often the store is asked which process schedules.
const LEADER_POLL: Duration = Duration::from_millis(250);

/// The routes of a follower, and the tasks that keep them up to date; these end when it is dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Every route.
    pub(crate) router: Router,
    /// Read the store for events of other processes, and for the leader's address.
    _watching: [AbortOnDropHandle<()>; 2],
}

impl Follower {
    /// Gets ready to serve from `store` while another process schedules. `provider` authenticates the callers.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub(crate) fn assemble(
        config: &Config,
        store: Arc<MongoDb>,
        provider: Arc<Provider>,
        closing: CancellationToken,
    ) -> anyhow::Result<Self> {
        let shared = Store::MongoDb(store.clone());
        let Parts { sessions, identities, admin_token, .. } =
            platform::parts(config, &shared, users::container_user())?;
        let jobs = JobReader::new(store.clone());
        let listener = LogListener(jobs.log().clone());
        let (leader, at) = watch::channel(None);
        let watching = [
            AbortOnDropHandle::new(tokio::spawn({
                let store = store.clone();
                async move { store.notify(&listener).await }
            })),
            AbortOnDropHandle::new(tokio::spawn(watch_leader(store, leader))),
        ];
        let gate = Gate::new(admin_token, provider);
        let app = platform::app(config, &shared, jobs, None, (sessions, identities), gate, closing);
        let router = forward_to_leader(mgx_api::router(app), at)?;
        Ok(Self { router, _watching: watching })
    }
}

/// Keeps `leader` at the address of the process that schedules.
async fn watch_leader(store: Arc<MongoDb>, leader: watch::Sender<Option<String>>) {
    loop {
        // a store that does not answer changes nothing: the last known leader stays
        if let Ok(found) = store.leader().await {
            let address = found.map(|leader| leader.address);
            leader.send_if_modified(|known| std::mem::replace(known, address.clone()) != address);
        }
        tokio::time::sleep(LEADER_POLL).await;
    }
}

/// Wakes the readers of events that another process has stored.
struct LogListener(EventLog);

impl EventListener for LogListener {
    fn sessions(&self) -> Vec<SessionId> {
        self.0.subscribed_sessions()
    }

    fn on_event(&self, session: &SessionId, seq: u64) {
        self.0.notify(session, seq);
    }
}
