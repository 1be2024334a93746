//! The models: requests for chat completions, and what answers them, a provider or the demo model.

pub(crate) mod answer;
pub(crate) mod demo;
pub(crate) mod provider;
pub(crate) mod request;
