//! A server from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use mgx_api::{ServeConfig, serve_current};
use mgx_runtimes::Pool;
use secrecy::SecretString;
use tokio::net::TcpSocket;
use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::candidate::Candidate;
use super::follower::Follower;
use super::handover;
use super::home;
use super::identity::{self, Identity};
use super::platform::{Platform, RuntimeDecorator};
use super::signals::Signals;
use crate::config::Config;
use crate::data_dir::{self, PidFile};
use crate::store::Store;

/// How many TCP connections may wait until they are accepted.
const ACCEPT_BACKLOG: u32 = 1024;

/// A server that accepts connections.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    store: Store,
    closing: CancellationToken,
    first_password: Option<SecretString>,
    /// Serves while another process schedules; only with a store that several processes share.
    follower: Option<Follower>,
    /// The platform, from the moment this process schedules.
    platform: Arc<SetOnce<Platform>>,
    /// Waits until this process may schedule.
    leading: Option<AbortOnDropHandle<anyhow::Result<()>>>,
    /// Removes tokens that have expired, and reads which ones other processes have revoked.
    _token_upkeep: AbortOnDropHandle<()>,
    /// Answers requests.
    listener: AbortOnDropHandle<()>,
    config: Config,
    _pid: PidFile,
}

impl Serving {
    /// Starts the server of this configuration.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_with(config, None).await
    }

    /// Starts the server of this configuration with `decorate` around its runtime.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub async fn start_with(mut config: Config, decorate: Option<RuntimeDecorator>) -> anyhow::Result<Self> {
        let data = config.server.data_dir.clone();
        data_dir::make(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let mut pid = PidFile::hold(&data, &config.process())?;
        let listen = config.server.listen;
        let taken = || {
            format!(
                "cannot listen on {listen}; free it, or set server.listen (MGX_SERVER__LISTEN) to another port"
            )
        };
        // bound now, so that the port is known; listening begins below, when everything is ready
        let socket = bind(listen).with_context(taken)?;
        let address = socket.local_addr()?;
        config.server.listen = address;
        let store = Store::open(&config).await?;
        if let Store::Embedded(store) = &store {
            home::settle(&data, store.instance())?;
        }
        let Identity { provider, first_password } = Identity::open(&config, store.accounts()).await?;
        let closing = CancellationToken::new();
        let platform = Arc::new(SetOnce::new());
        let serve_config = ServeConfig {
            drain: config.server.drain.duration(),
            proxies: config.server.trusted_proxies.clone(),
            note: Some(data_dir::begin_proxy_note(&data, &config.process())),
            ..ServeConfig::standard()
        };
        let upkeep = identity::keep_tokens(provider.clone(), config.is_shared(), closing.clone());
        let upkeep = AbortOnDropHandle::new(tokio::spawn(upkeep));
        let roles = config.server.roles;
        let router;
        let (mut follower, mut leading) = (None, None);
        match &store {
            Store::Embedded(_) | Store::MongoDb(_) if roles.are_the_providers_alone() => {
                router = mgx_api::provider_alone(provider);
            }
            Store::Embedded(_) => {
                let whole =
                    Platform::assemble(&config, &store, provider, decorate.as_ref(), closing.clone()).await?;
                router = whole.router.clone();
                handover::keep_when_known(&whole, data, closing.clone());
                platform.set(whole).ok();
            }
            Store::MongoDb(shared) => {
                let standby = Follower::assemble(&config, shared.clone(), provider.clone(), closing.clone())?;
                let served = watch::Sender::new(standby.router.clone());
                router = serve_current(served.subscribe());
                let candidate = Candidate {
                    address: advertised_address(&config, address),
                    store: shared.clone(),
                    provider,
                    config: config.clone(),
                    closing: closing.clone(),
                    routes: served,
                    platform: platform.clone(),
                };
                if roles.scheduler {
                    leading = Some(AbortOnDropHandle::new(tokio::spawn(candidate.lead(decorate))));
                }
                follower = Some(standby);
            }
        }
        let listener = socket.listen(ACCEPT_BACKLOG).with_context(taken)?;
        pid.listens_on(address)
            .with_context(|| format!("cannot write into {}", config.server.data_dir.display()))?;
        let serving = mgx_api::serve(listener, router, closing.clone(), serve_config);
        let listener = AbortOnDropHandle::new(tokio::spawn(serving));
        info!(%address, "ready");
        Ok(Self {
            address,
            store,
            closing,
            first_password,
            follower,
            platform,
            leading,
            _token_upkeep: upkeep,
            listener,
            config,
            _pid: pid,
        })
    }

    /// The address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The random password of the first administrator, if this is the first start. It is shown once and stored nowhere.
    pub fn take_first_password(&mut self) -> Option<SecretString> {
        self.first_password.take()
    }

    /// The name that the containers of this platform carry.
    pub fn instance(&self) -> &str {
        self.store.instance()
    }

    /// Resolves when this process schedules: at once with the embedded store, and with a shared one as soon as no other
    /// process does.
    pub async fn leading(&self) {
        self.platform.wait().await;
    }

    /// The warm pool, if there is one and this process schedules.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.platform.get()?.pool()
    }

    /// Serves until `signals` ask for the end, then shuts down: new jobs are refused at once, requests that are under way
    /// are answered, containers go on running and their jobs are taken up at the next start. A second request to end
    /// cuts this short.
    ///
    /// # Errors
    /// The store failed, and only a new process can trust it again; or another process schedules in the place of this
    /// one; or the end was asked for twice.
    pub async fn until(mut self, signals: impl Into<Signals>) -> anyhow::Result<()> {
        let signals = signals.into();
        let leading = self.leading.take();
        let failure = tokio::select! {
            () = signals.end.cancelled() => None,
            why = self.store.failed() => Some(format!("the store has failed: {why}; start again once it is well")),
            why = cannot_lead(leading) => {
                // so that another process can schedule before this one has ended
                self.store.close().await;
                Some(why)
            }
        };
        match &failure {
            None => info!("shutting down; containers go on running"),
            Some(why) => error!(why, "shutting down"),
        }
        tokio::select! {
            () = self.close() => {}
            () = signals.at_once.cancelled() => {
                warn!("asked twice to end: ending at once");
                return Err(anyhow::anyhow!("ended at once; requests that were under way were cut off"));
            }
        }
        failure.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }

    async fn close(self) {
        let timeout = self.config.server.drain.duration();
        self.closing.cancel();
        if let Some(platform) = self.platform.get() {
            platform.drain();
        }
        if let Err(error) = self.listener.await {
            error!(%error, "the HTTP server did not end in order");
        }
        drop(self.follower);
        if let Some(platform) = self.platform.get() {
            platform.shut_down(timeout).await;
        }
        self.store.close().await;
        info!("shut down");
    }
}

/// Resolves when this process leads and still cannot schedule, with the reason: another process may do better.
async fn cannot_lead(leading: Option<AbortOnDropHandle<anyhow::Result<()>>>) -> String {
    let Some(leading) = leading else { return std::future::pending().await };
    match leading.await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => format!("{error:#}"),
        Err(error) => format!("the start has failed: {error}"),
    }
}

/// A socket that is bound to this address and does not listen yet.
fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // connections of the process before may still be in TIME_WAIT
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The address at which the other processes reach this one.
fn advertised_address(config: &Config, listens: SocketAddr) -> String {
    match config.server.advertise.as_str() {
        "" => format!("http://{listens}"),
        named => named.to_owned(),
    }
}
