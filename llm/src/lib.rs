//! The LLM proxy: the only way from an agent, whose container has no network, to a model.
//!
//! ```text
//! agent ─▶ runner link ─▶ tunnels ─▶ caller ─▶ budget ─▶ request ─▶ provider | demo ─▶ metering ─▶ agent
//! ```
//!
//! Read [`proxy`] first. Agents authenticate with a token that is valid as long as their attempt runs; the provider's
//! key never leaves this process. Answers, errors included, have `OpenAI`'s shapes, so that its client libraries work
//! unchanged. The platform implements [`Attempts`] and [`UsageStore`]; this crate knows no containers and no stores.

pub mod attempts;
pub mod config;
pub mod error;
pub mod providers;
pub mod proxy;
pub mod tunnels;
pub mod usage;

mod caller;
mod model;
#[cfg(test)]
mod tests;

pub use attempts::{Attempts, JobOwner};
pub use config::{
    Auth, DEFAULT_MODEL, DEMO_MODEL, LlmConfig, LlmConfigError, ProviderConfig, Timeouts, is_secret_header,
};
pub use error::LlmError;
pub use model::presets::{PRESETS, Preset};
pub use providers::Providers;
pub use proxy::LlmProxy;
pub use tunnels::{TunnelLimits, serve_tunnels};
pub use usage::limits::{LlmLimits, UsageLimits};
pub use usage::price::Price;
pub use usage::{Usage, UsageStore};
