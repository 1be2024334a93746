//! Serving: from a configuration to a door that is open, and from a signal to one that is closed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use jiff::Timestamp;
use mgx_api::{ServeConfig, changing};
use mgx_oauth2::Provider;
use mgx_runtimes::Pool;
use mgx_store::MongoDb;
use secrecy::SecretString;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::assemble::{Lens, Platform};
use crate::config::Config;
use crate::data_dir::{self, PidFile};
use crate::follower::Follower;
use crate::handover::Report;
use crate::identity::{self, Identity};
use crate::store::Store;

/// How often a process whose turn has come tries to take up what the store holds, before it leaves that to another.
const TRIES: u32 = 5;

/// How long it waits between two tries.
const AGAIN: Duration = Duration::from_millis(500);

/// How many callers may wait until they are let in.
const BACKLOG: u32 = 1024;

/// A platform with its door open.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    store: Store,
    closing: CancellationToken,
    first_password: Option<SecretString>,
    /// What serves while this process does not schedule, if it ever may.
    follower: Option<Follower>,
    /// What schedules, as soon as this process does.
    platform: Arc<SetOnce<Platform>>,
    /// Waits for its turn to schedule.
    taking: Option<AbortOnDropHandle<anyhow::Result<()>>>,
    /// Forgets tokens that have ended, and learns of those that were taken back.
    _tending: AbortOnDropHandle<()>,
    door: AbortOnDropHandle<()>,
    config: Config,
    _pid: PidFile,
}

impl Serving {
    /// Opens the door.
    ///
    /// # Errors
    /// What the operator has to change.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_through(config, None).await
    }

    /// Opens the door of a platform whose scheduler sees its runtime through `lens`, if there is one.
    ///
    /// # Errors
    /// What the operator has to change.
    pub async fn start_through(mut config: Config, lens: Option<Lens>) -> anyhow::Result<Self> {
        let data = config.server.data_dir.clone();
        data_dir::make(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let pid = PidFile::hold(&data, &config.process())?;
        let listen = config.server.listen;
        let taken = || {
            format!(
                "cannot listen on {listen}; free it, or set server.listen (MGX_SERVER__LISTEN) to another port"
            )
        };
        // the address is ours before anything knows it, and nobody is let in before all is ready
        let socket = bind(listen).with_context(taken)?;
        let address = socket.local_addr()?;
        config.server.listen = address;
        let store = Store::open(&config).await?;
        let Identity { provider, first_password } = Identity::open(&config, store.accounts()).await?;
        let closing = CancellationToken::new();
        let platform = Arc::new(SetOnce::new());
        let door = ServeConfig {
            drain: config.server.drain.duration(),
            proxies: config.server.trusted_proxies.clone(),
            ..ServeConfig::standard()
        };
        let tending = identity::tend(provider.clone(), config.is_shared(), closing.clone());
        let tending = AbortOnDropHandle::new(tokio::spawn(tending));
        let roles = config.server.roles;
        let router;
        let (mut follower, mut taking) = (None, None);
        match &store {
            Store::Embedded(_) | Store::MongoDb(_) if roles.are_the_providers_alone() => {
                router = mgx_api::provider_alone(provider);
            }
            Store::Embedded(_) => {
                let whole =
                    Platform::assemble(&config, &store, provider, lens.as_ref(), closing.clone()).await?;
                router = whole.router.clone();
                report(&whole, data, closing.clone());
                platform.set(whole).ok();
            }
            Store::MongoDb(shared) => {
                let standby =
                    Follower::assemble(&config, shared.clone(), provider.clone(), closing.clone()).await?;
                let front = watch::Sender::new(standby.router.clone());
                router = changing(front.subscribe());
                let turn = Turn {
                    address: address_for_others(&config, address),
                    store: shared.clone(),
                    provider,
                    config: config.clone(),
                    closing: closing.clone(),
                    front,
                    platform: platform.clone(),
                };
                if roles.scheduler {
                    taking = Some(AbortOnDropHandle::new(tokio::spawn(turn.take(lens))));
                }
                follower = Some(standby);
            }
        }
        let listener = socket.listen(BACKLOG).with_context(taken)?;
        let door =
            AbortOnDropHandle::new(tokio::spawn(mgx_api::serve(listener, router, closing.clone(), door)));
        info!(%address, "ready");
        Ok(Self {
            address,
            store,
            closing,
            first_password,
            follower,
            platform,
            taking,
            _tending: tending,
            door,
            config,
            _pid: pid,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The random password of the first administrator, if this is the first start: to be shown, once.
    pub fn take_first_password(&mut self) -> Option<SecretString> {
        self.first_password.take()
    }

    /// The instance that its containers belong to.
    pub fn instance(&self) -> &str {
        self.store.instance()
    }

    /// Resolves when this process schedules: at once with the embedded store, and when no other one does with a shared
    /// one.
    pub async fn leading(&self) {
        self.platform.wait().await;
    }

    /// The warm pool, if there is one and this process schedules.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.platform.get()?.pool()
    }

    /// Serves until `signals` ask for the end, then closes: new jobs are refused at once, what is being answered is
    /// answered, what runs in containers goes on and is taken up again at the next start. Asked twice, it waits for
    /// nothing more.
    ///
    /// # Errors
    /// The store failed, and only a new process can trust it again; or another process schedules in the place of this
    /// one; or it was asked twice.
    pub async fn until(mut self, signals: impl Into<Signals>) -> anyhow::Result<()> {
        let signals = signals.into();
        let taking = self.taking.take();
        let failure = tokio::select! {
            () = signals.end.cancelled() => None,
            why = self.store.failed() => Some(format!("the store has failed: {why}; start again once it is well")),
            why = not_taken(taking) => {
                // another process need not wait until this one has ended
                self.store.close().await;
                Some(why)
            }
        };
        match &failure {
            None => info!("shutting down; what runs in containers goes on"),
            Some(why) => error!(why, "shutting down"),
        }
        tokio::select! {
            () = self.close() => {}
            () = signals.at_once.cancelled() => {
                warn!("asked twice: ending at once");
                return Err(anyhow::anyhow!("ended at once; what was being answered was cut off"));
            }
        }
        failure.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }

    async fn close(self) {
        let patience = self.config.server.drain.duration();
        self.closing.cancel();
        if let Some(platform) = self.platform.get() {
            platform.drain();
        }
        if let Err(error) = self.door.await {
            error!(%error, "the door was not closed in order");
        }
        if let Some(follower) = &self.follower {
            follower.shut_down(patience).await;
        }
        if let Some(platform) = self.platform.get() {
            platform.shut_down(patience).await;
        }
        self.store.close().await;
        info!("shut down");
    }
}

/// What a process needs to schedule when its turn has come.
struct Turn {
    address: String,
    store: Arc<MongoDb>,
    provider: Arc<Provider>,
    config: Config,
    closing: CancellationToken,
    front: watch::Sender<Router>,
    platform: Arc<SetOnce<Platform>>,
}

impl Turn {
    /// Waits for it; then schedules, and answers everything itself.
    async fn take(self, lens: Option<Lens>) -> anyhow::Result<()> {
        let by = format!("process {} at {} since {:.0}", std::process::id(), self.address, Timestamp::now());
        self.store.lead(&self.address, &by).await;
        let store = Store::MongoDb(self.store.clone());
        let mut tries = 1..TRIES;
        let platform = loop {
            let (provider, closing) = (self.provider.clone(), self.closing.clone());
            match Platform::assemble(&self.config, &store, provider, lens.as_ref(), closing).await {
                Ok(platform) => break platform,
                // the store may be away for a moment just now
                Err(error) if tries.next().is_some() => {
                    warn!(error = format!("{error:#}"), "cannot schedule yet, trying again");
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        };
        report(&platform, self.config.server.data_dir.clone(), self.closing);
        drop(self.front.send_replace(platform.router.clone()));
        self.platform.set(platform).ok();
        info!("this process schedules");
        Ok(())
    }
}

/// Resolves when a process that leads cannot schedule, and says why: another one can do it better.
async fn not_taken(taking: Option<AbortOnDropHandle<anyhow::Result<()>>>) -> String {
    let Some(taking) = taking else { return std::future::pending().await };
    match taking.await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => format!("{error:#}"),
        Err(error) => format!("the start has failed: {error}"),
    }
}

/// A socket of this address, on which nobody can call yet.
fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // as after every restart: the connections of the process before may still be ending
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Where the other processes reach this one.
fn address_for_others(config: &Config, listens: SocketAddr) -> String {
    match config.server.advertise.as_str() {
        "" => format!("http://{listens}"),
        named => named.to_owned(),
    }
}

/// Keeps the report of what `platform` has taken over, as soon as there is one.
fn report(platform: &Platform, dir: PathBuf, closing: CancellationToken) {
    let handover = platform.handover();
    tokio::spawn(async move {
        let report = tokio::select! {
            handover = handover => Report::of_this_process(handover),
            () = closing.cancelled() => return,
        };
        let kept =
            tokio::task::spawn_blocking(move || report.keep(&dir)).await.map_err(std::io::Error::other);
        if let Err(error) = kept.flatten() {
            warn!(%error, "cannot keep the report of the handover");
        }
    });
}

/// What a process is asked from outside.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// To end, in order.
    pub end: CancellationToken,
    /// To end at once.
    pub at_once: CancellationToken,
}

impl From<CancellationToken> for Signals {
    /// Whoever has one token asks once.
    fn from(end: CancellationToken) -> Self {
        Self { end, at_once: CancellationToken::new() }
    }
}

impl Signals {
    /// SIGTERM and SIGINT ask for the end; the second of them, for an end at once. SIGHUP, which a closing terminal
    /// sends, is ignored.
    ///
    /// # Errors
    /// The process cannot listen to signals.
    pub fn of_this_process() -> std::io::Result<Self> {
        let signals = Self::default();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let asked = signals.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => continue,
                }
                if asked.end.is_cancelled() {
                    return asked.at_once.cancel();
                }
                asked.end.cancel();
            }
        });
        Ok(signals)
    }
}
