//! The agent image, and the runtime that makes it before the first container, and again if the engine has lost it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use mgx_protocol::Invocation;
use mgx_protocol::SlotId;
use mgx_runtimes::image::{Images, Made, agent_image};
use mgx_runtimes::{
    ContainerSpec, EngineInfo, Listed, Placement, PoolableRuntime, Run, Runtime, RuntimeError,
    RuntimeErrorKind, WarmContainer,
};
use tokio::sync::{Notify, OnceCell};
use tracing::{info, warn};

use crate::config::Config;

/// Files of certificate authorities on common distributions.
const CA_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The largest file that becomes a part of the image, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The parts of the agent image.
#[derive(Debug, Clone)]
pub struct AgentImage {
    /// The name of the image.
    pub tag: String,
    /// The file of the static runner, if there is one.
    pub runner: Option<PathBuf>,
    /// The file of certificate authorities, if there is one.
    pub ca_bundle: Option<PathBuf>,
}

impl AgentImage {
    /// The parts that the configuration names, or that this machine has in the usual places.
    pub fn of(config: &Config) -> Self {
        let named = (!config.agent.runner.as_os_str().is_empty()).then(|| config.agent.runner.clone());
        Self { tag: config.agent.image.clone(), runner: named.or_else(runner_nearby), ca_bundle: ca_bundle() }
    }

    /// A text that differs between builds of the image, found without asking the engine.
    pub fn generation(&self) -> String {
        let found = self.runner.as_ref().and_then(|runner| runner.metadata().ok());
        let build =
            found.map(|found| format!("{}-{}", found.len(), found.mtime_nsec().wrapping_add(found.mtime())));
        format!("{}-{}", env!("CARGO_PKG_VERSION"), build.unwrap_or_default())
    }

    /// Makes the image, unless the engine has one of this name and content. Without a runner, the image of this name is
    /// used as it is.
    ///
    /// # Errors
    /// The runner cannot be read or is not a static program, or the engine cannot build the image.
    pub async fn make(&self, images: &dyn Images) -> Result<Made, RuntimeError> {
        let Some(runner) = &self.runner else {
            warn!(image = self.tag, "no runner to build the agent image from; using what the engine has");
            return Ok(Made::Present);
        };
        let runner = read(runner).await?;
        let ca_bundle = match &self.ca_bundle {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let made = agent_image(images, &self.tag, &runner, ca_bundle.as_deref(), &[]).await?;
        if made == Made::Built {
            info!(image = self.tag, "the agent image has been built");
        }
        Ok(made)
    }
}

/// A container engine that makes the agent image when it is missing.
#[derive(Debug)]
pub struct WithImage {
    engine: Arc<dyn PoolableRuntime>,
    images: Arc<dyn Images>,
    image: AgentImage,
    made: OnceCell<()>,
}

impl WithImage {
    /// The engine `engine`, which makes `image` in its `images`.
    pub fn new(engine: Arc<dyn PoolableRuntime>, images: Arc<dyn Images>, image: AgentImage) -> Self {
        Self { engine, images, image, made: OnceCell::new() }
    }

    /// Makes the image, once in the life of this process.
    ///
    /// # Errors
    /// As [`AgentImage::make`].
    pub async fn prepare(&self) -> Result<(), RuntimeError> {
        let make = async || self.image.make(&*self.images).await.map(drop);
        self.made.get_or_try_init(make).await.copied()
    }
}

#[async_trait]
impl Runtime for WithImage {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        self.prepare().await?;
        match self.engine.create(spec, placement).await {
            Err(error) if error.kind() == RuntimeErrorKind::ImageMissing && self.image.runner.is_some() => {
                warn!(image = self.image.tag, "the agent image is gone from the engine; building it again");
                self.image.make(&*self.images).await?;
                self.engine.create(spec, placement).await
            }
            created => created,
        }
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        self.engine.invoke(slot, invocation).await
    }

    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        self.engine.reattach(slot).await
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        self.engine.remove(slot).await
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        self.engine.list().await
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        self.engine.info().await
    }
}

#[async_trait]
impl PoolableRuntime for WithImage {
    async fn keep_warm(
        &self,
        slot: &SlotId,
        disconnected: Arc<Notify>,
    ) -> Result<WarmContainer, RuntimeError> {
        self.engine.keep_warm(slot, disconnected).await
    }
}

/// The runner beside this program, or in the folder `images` beside its folder.
fn runner_nearby() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let beside = program.parent()?;
    let build = beside.parent().unwrap_or(beside);
    [beside.join("agent-runner"), build.join("images/agent-runner")].into_iter().find(|path| path.is_file())
}

fn ca_bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(CA_BUNDLES.map(PathBuf::from)).find(|path| path.is_file())
}

async fn read(path: &Path) -> Result<Vec<u8>, RuntimeError> {
    let refused = |error: std::io::Error| {
        RuntimeError::new(RuntimeErrorKind::Refused, format!("cannot read {}", path.display())).because(error)
    };
    let found = tokio::fs::metadata(path).await.map_err(refused)?;
    if found.len() > FILE_BYTES_MAX {
        return Err(refused(std::io::Error::other("the file is too large for the image")));
    }
    tokio::fs::read(path).await.map_err(refused)
}
