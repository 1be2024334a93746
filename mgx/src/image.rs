//! The image of the jobs' containers: one of the platform's own, which it makes, or one of the operator's, which is used
//! as it is and never written to.

mod recipe;
mod runtime;

use mgx_runtimes::RuntimeError;
use mgx_runtimes::image::{FoundImage, Images, Made};
use tracing::info;

use crate::config::Config;
use recipe::Recipe;
pub(crate) use recipe::{ca_bundle, runner};
pub use runtime::WithImage;

/// The platform's image with the runner and little else: no shell, no other program.
pub(crate) const AGENT: &str = "mgx-agent";

/// The platform's image with a shell and the tools of busybox beside the runner.
pub(crate) const BASE: &str = "mgx-base";

/// The image of the jobs' containers.
#[derive(Debug, Clone)]
pub struct AgentImage {
    /// Its name in the engine. One of the platform's own is named by its content.
    pub name: String,
    origin: Origin,
}

/// Who makes the image.
#[derive(Debug, Clone)]
enum Origin {
    /// The platform.
    Own(Recipe),
    /// The platform, but something for it is missing: what, and the remedy.
    CannotBeMade(String),
    /// The operator.
    Configured,
}

/// The image, compared with what an engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The platform's own is there.
    Own,
    /// The platform's own will be made at the first start.
    ToBeMade,
    /// The platform's own cannot be made: why, and the remedy.
    CannotBeMade(String),
    /// The operator's is there.
    Configured(FoundImage),
    /// The operator's is not there.
    Missing,
}

impl AgentImage {
    /// The image that `agent.image` names. One of the platform's own is read from this machine's files, for its name.
    pub fn of(config: &Config) -> Self {
        let repository = match config.agent.image.as_str() {
            AGENT => AGENT,
            BASE => BASE,
            other => return Self { name: other.to_owned(), origin: Origin::Configured },
        };
        let packed = Recipe::of(config, repository).and_then(|recipe| {
            let packed = recipe.pack().map_err(|error| error.to_string())?;
            Ok((packed.name().to_owned(), recipe))
        });
        match packed {
            Ok((name, recipe)) => Self { name, origin: Origin::Own(recipe) },
            Err(why) => Self { name: format!("{repository}:none"), origin: Origin::CannotBeMade(why) },
        }
    }

    /// Makes the image if it is the platform's own and the engine does not have it. One of the operator's is left alone.
    ///
    /// # Errors
    /// `ImageMissing` if something for it is missing on this machine; otherwise the engine's.
    pub async fn make(&self, images: &dyn Images) -> Result<Made, RuntimeError> {
        let recipe = match &self.origin {
            Origin::Own(recipe) => recipe.clone(),
            Origin::CannotBeMade(why) => return Err(missing(why)),
            Origin::Configured => return Ok(Made::Present),
        };
        let packed = tokio::task::spawn_blocking(move || recipe.pack());
        let packed = packed.await.map_err(|error| missing(&error.to_string()))??;
        if packed.name() != self.name {
            return Err(missing(&format!(
                "{} cannot be made any more, because the runner on this machine is another one since the server was \
                 started: start the server again",
                self.name
            )));
        }
        let made = packed.make(images).await?;
        if made == Made::Built {
            info!(image = self.name, "the agent image has been built");
        }
        Ok(made)
    }

    /// Whether the engine has the image.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) async fn presence(&self, images: &dyn Images) -> Result<Presence, RuntimeError> {
        let found = async || images.find(&self.name).await;
        Ok(match &self.origin {
            Origin::Own(_) => found().await?.map_or(Presence::ToBeMade, |_| Presence::Own),
            Origin::CannotBeMade(why) => Presence::CannotBeMade(why.clone()),
            Origin::Configured => found().await?.map_or(Presence::Missing, Presence::Configured),
        })
    }

    /// Whether the image is the operator's.
    pub(crate) fn is_configured(&self) -> bool {
        matches!(self.origin, Origin::Configured)
    }
}

/// What is to be done about an image of the operator's that the engine does not have.
pub(crate) fn remedy_of_missing(name: &str) -> String {
    format!(
        "build it there or load it (`docker load`) as {name}, or set agent.image to \"{AGENT}\" or \"{BASE}\", which the \
         platform makes: docs/images.md"
    )
}

fn missing(why: &str) -> RuntimeError {
    RuntimeError::new(mgx_runtimes::RuntimeErrorKind::ImageMissing, why)
}
