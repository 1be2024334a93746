//! A process that shares the store and does not schedule: it serves event streams itself, and forwards every other
//! request to the process that schedules.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use jiff::Timestamp;
use mgx_api::Gate;
use mgx_api::forward_to_leader;
use mgx_apps::JobBlueprint;
use mgx_oauth2::Provider;
use mgx_protocol::{JobId, SessionId};
use mgx_runtimes::{Null, Runtime};
use mgx_scheduler::{
    Clock, Entry, Event, EventLog, Head, HistorySize, Job, JobFilter, Journal, JournalError, Redactor,
    Scheduler,
};
use mgx_store::{EventListener, MongoDb};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::platform::{self, Parts};
use crate::config::Config;
use crate::settings;
use crate::store::Store;

/// How often the store is asked which process schedules.
const LEADER_POLL: Duration = Duration::from_millis(250);

/// The routes of a follower, and the tasks that serve them.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Every route.
    pub(crate) router: Router,
    scheduler: Scheduler,
    /// Read the store for events of other processes, and for the leader's address.
    _watching: [AbortOnDropHandle<()>; 2],
}

impl Follower {
    /// Gets ready to serve from `store` while another process schedules. `provider` authenticates the callers.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub(crate) async fn assemble(
        config: &Config,
        store: Arc<MongoDb>,
        provider: Arc<Provider>,
        closing: CancellationToken,
    ) -> anyhow::Result<Self> {
        let shared = Store::MongoDb(store.clone());
        let Parts { sessions, identities, blueprint, admin_token, .. } = platform::parts(config, &shared)?;
        let runtime: Arc<dyn Runtime> = Arc::new(Null::default());
        let scheduler = idle(config, store.clone(), runtime.clone(), blueprint).await?;
        let listener = LogListener(scheduler.log().clone());
        let (leader, at) = watch::channel(None);
        let watching = [
            AbortOnDropHandle::new(tokio::spawn({
                let store = store.clone();
                async move { store.notify(&listener).await }
            })),
            AbortOnDropHandle::new(tokio::spawn(watch_leader(store, leader))),
        ];
        let gate = Gate::new(admin_token, provider);
        let app =
            platform::app(config, &shared, scheduler.clone(), (sessions, identities), runtime, gate, closing);
        let router = forward_to_leader(mgx_api::router(app), at)?;
        Ok(Self { router, scheduler, _watching: watching })
    }

    /// Ends every task of this process, and waits for them no longer than `timeout`.
    pub(crate) async fn shut_down(&self, timeout: Duration) {
        self.scheduler.shut_down(timeout).await;
    }
}

/// A scheduler without jobs, which answers from the store.
async fn idle(
    config: &Config,
    store: Arc<MongoDb>,
    runtime: Arc<dyn Runtime>,
    blueprint: JobBlueprint,
) -> anyhow::Result<Scheduler> {
    let clock = Clock::starting_at(Timestamp::now(), platform::uptime());
    let config = settings::scheduler_config(config, Redactor::default());
    Ok(Scheduler::start(config, clock, Arc::new(ReadOnly(store)), runtime, Arc::new(blueprint)).await?)
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

/// The journal of the process that schedules, which this one only reads.
#[derive(Debug)]
struct ReadOnly(Arc<MongoDb>);

#[async_trait]
impl Journal for ReadOnly {
    async fn write(&self, _entry: Entry) -> Result<Vec<Event>, JournalError> {
        Err(JournalError::Unavailable("this process does not schedule".to_owned()))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        self.0.job(id).await
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<Job>, JournalError> {
        self.0.jobs(filter).await
    }

    async fn unfinished(&self) -> Result<Vec<Job>, JournalError> {
        Ok(Vec::new())
    }

    async fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        self.0.events(session, after, limit).await
    }

    async fn size(&self, session: &SessionId) -> Result<HistorySize, JournalError> {
        self.0.size(session).await
    }

    async fn head(&self, session: &SessionId) -> Result<Head, JournalError> {
        self.0.head(session).await
    }
}
