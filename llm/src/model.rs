//! The models: requests for chat completions, and what answers them, a provider or the demo model.

pub(crate) mod answer;
pub(crate) mod demo;
pub(crate) mod error_kind;
mod features;
mod key_filter;
pub(crate) mod presets;
pub(crate) mod provider;
pub(crate) mod provider_error;
pub(crate) mod reply_stream;
pub(crate) mod request;
mod retry_after;
