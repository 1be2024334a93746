//! The HTTP surface: each handler translates a request for the scheduler, the sessions or the workspaces, and their
//! answer back. Knows no concrete runtime and no concrete store.
//!
//! Lowest first: `http`, then authentication (`auth`), then one module per resource, and `app`, which puts their routes
//! together. What the handlers work on is [`App`].

mod http;

mod auth;

mod events;
mod state;

mod accounts;
mod jobs;
mod runtimes;
mod sessions;
mod workspaces;

mod app;

#[cfg(test)]
mod testing;

pub use app::{description, provider_alone, router};
pub use auth::{AUDIENCE, AdminToken, CALLBACK, Caller, Gate, PAGES, Right, Rights};
pub use events::{StreamBounds, Streams};
pub use http::{
    ConnectionTimeouts, Problem, Proxies, ServeConfig, Slug, forward_to_leader, serve, serve_current,
};
pub use state::{App, EngineProbe, Imports, JobRules, Pools, Scheduling, StoreProbe};
