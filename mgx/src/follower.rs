//! A process that shares the store and does not schedule: it serves event streams by itself and hands the rest on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use jiff::Timestamp;
use mgx_api::Gate;
use mgx_api::handing_on;
use mgx_apps::JobBlueprint;
use mgx_oauth2::Provider;
use mgx_protocol::{JobId, SessionId};
use mgx_runtimes::{Null, Runtime};
use mgx_scheduler::{
    Clock, Entry, Event, EventLog, Head, HistorySize, Job, JobFilter, Journal, JournalError, Redactor,
    Scheduler,
};
use mgx_store::EventListener;
use mgx_store::MongoDb;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::assemble::{self, Parts};
use crate::config::Config;
use crate::store::Store;

/// How often it is asked who schedules.
const LOOK: Duration = Duration::from_millis(250);

/// What such a process needs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    /// Its routes.
    pub(crate) router: Router,
    scheduler: Scheduler,
    /// Hear of events, and of who schedules.
    _listening: [AbortOnDropHandle<()>; 2],
}

impl Follower {
    /// Ready to serve from `store`, whoever schedules, whom `provider` knows.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(crate) async fn assemble(
        config: &Config,
        store: Arc<MongoDb>,
        provider: Arc<Provider>,
        closing: CancellationToken,
    ) -> anyhow::Result<Self> {
        let shared = Store::MongoDb(store.clone());
        let Parts { sessions, identities, blueprint, token, .. } = assemble::parts(config, &shared)?;
        let runtime: Arc<dyn Runtime> = Arc::new(Null::default());
        let scheduler = idle(config, store.clone(), runtime.clone(), blueprint).await?;
        let listener = LogListener(scheduler.log().clone());
        let (leader, at) = watch::channel(None);
        let listening = [
            AbortOnDropHandle::new(tokio::spawn({
                let store = store.clone();
                async move { store.notify(&listener).await }
            })),
            AbortOnDropHandle::new(tokio::spawn(look(store, leader))),
        ];
        let gate = Gate::new(token, provider);
        let app =
            assemble::app(config, &shared, scheduler.clone(), (sessions, identities), runtime, gate, closing);
        let router = handing_on(mgx_api::router(app), at)?;
        Ok(Self { router, scheduler, _listening: listening })
    }

    /// Lets go of everything.
    pub(crate) async fn shut_down(&self, patience: Duration) {
        self.scheduler.shut_down(patience).await;
    }
}

/// A scheduler without jobs, which knows what the store says.
async fn idle(
    config: &Config,
    store: Arc<MongoDb>,
    runtime: Arc<dyn Runtime>,
    blueprint: JobBlueprint,
) -> anyhow::Result<Scheduler> {
    let clock = Clock::starting_at(Timestamp::now(), assemble::uptime());
    let config = assemble::scheduler_config(config, Redactor::default());
    Ok(Scheduler::start(config, clock, Arc::new(Reading(store)), runtime, Arc::new(blueprint)).await?)
}

/// Keeps `leader` at the address of whoever schedules.
async fn look(store: Arc<MongoDb>, leader: watch::Sender<Option<String>>) {
    loop {
        // a store that is away says nothing: whoever scheduled does so still
        if let Ok(found) = store.leader().await {
            let address = found.map(|leader| leader.address);
            leader.send_if_modified(|known| std::mem::replace(known, address.clone()) != address);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Rings for events that another process has stored.
struct LogListener(EventLog);

impl EventListener for LogListener {
    fn sessions(&self) -> Vec<SessionId> {
        self.0.followed()
    }

    fn on_event(&self, session: &SessionId, seq: u64) {
        self.0.ring(session, seq);
    }
}

/// The journal of another process: it is read, and nothing of it is taken up.
#[derive(Debug)]
struct Reading(Arc<MongoDb>);

#[async_trait]
impl Journal for Reading {
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
