//! Serving: from a configuration to a door that is open, and from a signal to one that is closed.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use mgx_runtimes::Runtime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use crate::assemble::Platform;
use crate::config::Config;
use crate::data_dir::{self, PidFile};

/// A platform with its door open.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    platform: Platform,
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
        Self::start_on(config, None).await
    }

    /// Opens the door of a platform on `runtime`, or on the one that the configuration names.
    ///
    /// # Errors
    /// What the operator has to change.
    pub async fn start_on(config: Config, runtime: Option<Arc<dyn Runtime>>) -> anyhow::Result<Self> {
        data_dir::make(&config.server.data_dir)
            .with_context(|| format!("cannot make {}", config.server.data_dir.display()))?;
        let pid = PidFile::hold(&config.server.data_dir)?;
        let platform = Platform::assemble(&config, runtime).await?;
        let listen = config.server.listen;
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("cannot listen on {listen}; free it, or set server.listen (MGX_SERVER__LISTEN) to another port")
        })?;
        let address = listener.local_addr()?;
        let serving = mgx_api::serve(
            listener,
            platform.router.clone(),
            platform.closing.clone(),
            platform.door.clone(),
        );
        let door = AbortOnDropHandle::new(tokio::spawn(serving));
        info!(%address, "ready");
        Ok(Self { address, platform, door, config, _pid: pid })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then closes: new jobs are refused at once, what is being answered is answered, what
    /// runs in containers goes on and is taken up again at the next start.
    ///
    /// # Errors
    /// The store failed; only a new process can trust it again.
    pub async fn until(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            why = self.platform.failed() => Some(why),
        };
        match &failure {
            None => info!("shutting down; what runs in containers goes on"),
            Some(why) => error!(why, "the store has failed; shutting down"),
        }
        self.platform.drain();
        if let Err(error) = self.door.await {
            error!(%error, "the door was not closed in order");
        }
        self.platform.shut_down(self.config.server.drain.duration()).await;
        match failure {
            None => Ok(()),
            Some(why) => {
                Err(anyhow::anyhow!("the store has failed: {why}; start again once the disk is well"))
            }
        }
    }
}

/// Cancelled by SIGTERM and SIGINT. SIGHUP, which a closing terminal sends, is ignored.
///
/// # Errors
/// The process cannot listen to signals.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {}
            }
        }
        asked.cancel();
    });
    Ok(shutdown)
}
