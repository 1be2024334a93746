//! A container engine that makes the platform's own image before the first container, and again if the engine has lost it.

use std::sync::Arc;

use async_trait::async_trait;
use mgx_protocol::{Invocation, OLDEST_VERSION, SlotId, VERSION};
use mgx_runtimes::image::{Images, remove_older};
use mgx_runtimes::{
    ContainerSpec, EngineInfo, Listed, Placement, PoolableRuntime, Run, Runtime, RuntimeError,
    RuntimeErrorKind, WarmContainer,
};
use tokio::sync::{Notify, OnceCell};
use tracing::{info, warn};

use super::{AgentImage, Presence, remedy_of_missing};

/// A container engine with the image of the jobs' containers.
#[derive(Debug)]
pub struct WithImage {
    engine: Arc<dyn PoolableRuntime>,
    images: Arc<dyn Images>,
    image: AgentImage,
    made: OnceCell<()>,
}

impl WithImage {
    /// The engine `engine`, which has `image` among its `images` or makes it there.
    pub fn new(engine: Arc<dyn PoolableRuntime>, images: Arc<dyn Images>, image: AgentImage) -> Self {
        Self { engine, images, image, made: OnceCell::new() }
    }

    /// The image.
    pub(crate) fn image(&self) -> &AgentImage {
        &self.image
    }

    /// Makes the image, once in the life of this process. An image of the operator's is looked for, and a warning says if
    /// it is missing: it may still come.
    ///
    /// # Errors
    /// As [`AgentImage::make`].
    pub async fn prepare(&self) -> Result<(), RuntimeError> {
        let make = async || {
            if self.image.presence(&*self.images).await? == Presence::Missing {
                let (image, remedy) = (&self.image.name, remedy_of_missing(&self.image.name));
                warn!(image, remedy, "the image of agent.image is not in the engine: jobs fail until it is");
            }
            self.image.make(&*self.images).await.map(drop)
        };
        self.made.get_or_try_init(make).await.copied()
    }

    /// Removes the images that earlier builds of the platform have made, unless a container uses them.
    ///
    /// # Errors
    /// The engine's.
    pub async fn remove_older(&self) -> Result<(), RuntimeError> {
        if self.image.is_configured() {
            return Ok(());
        }
        for image in remove_older(&*self.images, &self.image.name).await? {
            info!(image, "removed an older agent image, which no container used");
        }
        Ok(())
    }

    /// The error of a container that could not be made of an image of the operator's, with what may be wrong with that.
    fn explained(&self, spec: &ContainerSpec, error: RuntimeError) -> RuntimeError {
        use RuntimeErrorKind as Kind;
        if !self.image.is_configured() || spec.image != self.image.name {
            return error;
        }
        let name = &spec.image;
        let message = match error.kind() {
            Kind::ImageMissing => {
                format!("the image {name} of agent.image is not in the engine: {}", remedy_of_missing(name))
            }
            Kind::NotReady => format!(
                "no runner has come out of a container of the image {name} of agent.image: its entry point has to be an \
                 agent-runner that speaks version {OLDEST_VERSION} to {VERSION} of the link (docs/images.md)"
            ),
            Kind::OciRuntimeMissing
            | Kind::Unavailable
            | Kind::Deadline
            | Kind::Conflict
            | Kind::NotFound
            | Kind::NotInvoked
            | Kind::Refused => return error,
        };
        RuntimeError::new(error.kind(), message).because(error)
    }
}

#[async_trait]
impl Runtime for WithImage {
    async fn create(&self, spec: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        self.prepare().await?;
        let created = match self.engine.create(spec, placement).await {
            Err(error)
                if error.kind() == RuntimeErrorKind::ImageMissing
                    && !self.image.is_configured()
                    && spec.image == self.image.name =>
            {
                warn!(image = self.image.name, "the agent image is gone from the engine; building it again");
                self.image.make(&*self.images).await?;
                self.engine.create(spec, placement).await
            }
            created => created,
        };
        created.map_err(|error| self.explained(spec, error))
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
