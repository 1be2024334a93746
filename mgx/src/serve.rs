//! Serving: from a configuration to a door that is open, and from a signal to one that is closed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use mgx_runtimes::Pool;
use secrecy::SecretString;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::assemble::{Lens, Platform};
use crate::config::Config;
use crate::data_dir::{self, PidFile};
use crate::handover::Report;

/// How many callers may wait until they are let in.
const BACKLOG: u32 = 1024;

/// A platform with its door open.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    first_password: Option<SecretString>,
    platform: Platform,
    door: AbortOnDropHandle<()>,
    /// Keeps the report of what was taken over, when there is one.
    _reporting: AbortOnDropHandle<()>,
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
        data_dir::make(&config.server.data_dir)
            .with_context(|| format!("cannot make {}", config.server.data_dir.display()))?;
        let pid = PidFile::hold(&config.server.data_dir)?;
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
        let mut platform = Platform::assemble(&config, lens).await?;
        let first_password = platform.first_password.take();
        let listener = socket.listen(BACKLOG).with_context(taken)?;
        let serving = mgx_api::serve(
            listener,
            platform.router.clone(),
            platform.closing.clone(),
            platform.door.clone(),
        );
        let door = AbortOnDropHandle::new(tokio::spawn(serving));
        let reporting =
            AbortOnDropHandle::new(tokio::spawn(report(&platform, config.server.data_dir.clone())));
        info!(%address, "ready");
        Ok(Self { address, first_password, platform, door, _reporting: reporting, config, _pid: pid })
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
        self.platform.instance()
    }

    /// The warm pool, if there is one.
    pub fn pool(&self) -> Option<Arc<Pool>> {
        self.platform.pool()
    }

    /// Serves until `signals` ask for the end, then closes: new jobs are refused at once, what is being answered is
    /// answered, what runs in containers goes on and is taken up again at the next start. Asked twice, it waits for
    /// nothing more.
    ///
    /// # Errors
    /// The store failed, and only a new process can trust it again; or it was asked twice.
    pub async fn until(self, signals: impl Into<Signals>) -> anyhow::Result<()> {
        let signals = signals.into();
        let failure = tokio::select! {
            () = signals.end.cancelled() => None,
            why = self.platform.failed() => Some(why),
        };
        match &failure {
            None => info!("shutting down; what runs in containers goes on"),
            Some(why) => error!(why, "the store has failed; shutting down"),
        }
        tokio::select! {
            () = self.close() => {}
            () = signals.at_once.cancelled() => {
                warn!("asked twice: ending at once");
                return Err(anyhow::anyhow!("ended at once; what was being answered was cut off"));
            }
        }
        match failure {
            None => Ok(()),
            Some(why) => {
                Err(anyhow::anyhow!("the store has failed: {why}; start again once the disk is well"))
            }
        }
    }

    async fn close(self) {
        self.platform.drain();
        if let Err(error) = self.door.await {
            error!(%error, "the door was not closed in order");
        }
        self.platform.shut_down(self.config.server.drain.duration()).await;
        info!("shut down");
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

/// Keeps the report of what `platform` has taken over.
fn report(platform: &Platform, dir: PathBuf) -> impl Future<Output = ()> + Send + use<> {
    let handover = platform.handover();
    async move {
        let report = Report::of_this_process(handover.await);
        let kept =
            tokio::task::spawn_blocking(move || report.keep(&dir)).await.map_err(std::io::Error::other);
        if let Err(error) = kept.flatten() {
            warn!(%error, "cannot keep the report of the handover");
        }
    }
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
