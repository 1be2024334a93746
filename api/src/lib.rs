//! The HTTP surface: each handler translates a request for the scheduler, the sessions or the workspaces, and their
//! answer back. Knows no concrete runtime and no concrete store.
//!
//! Read [`app`], [`problem`], then a route file: `sessions`, `jobs`, `events`, `files`.

pub mod app;
pub mod auth;
pub mod byte_size;
pub mod caller;
pub mod connection;
pub mod extract;
pub mod forward;
pub mod health;
pub mod idempotency;
pub mod import;
pub mod job_request;
pub mod pools;
pub mod problem;
pub mod serve;
pub mod streams;
pub mod strict_json;

mod accept;
#[cfg(test)]
mod access_tests;
mod admin;
#[cfg(test)]
mod admission_tests;
mod app_client;
#[cfg(test)]
mod auth_tests;
mod batch;
mod block;
mod browser;
mod byte_range;
mod credential;
#[cfg(test)]
mod dpop_tests;
mod enqueue;
mod event_id;
mod event_view;
mod events;
mod explain;
mod export;
mod export_line;
mod file_body;
mod file_request;
mod files;
mod follow;
mod generate;
mod ids;
mod import_check;
#[cfg(test)]
mod import_tests;
mod job_terms;
mod job_view;
mod jobs;
mod me;
#[cfg(test)]
mod once_tests;
mod openapi;
#[cfg(test)]
mod openapi_tests;
mod proxies;
#[cfg(test)]
mod routes_tests;
mod sessions;
mod sign_in;
#[cfg(test)]
mod sign_in_tests;
mod slug;
mod tail;
#[cfg(test)]
mod testing;
mod timeline;

pub use app::{App, description, provider_alone, router};
pub use auth::{AUDIENCE, AdminToken, Gate};
pub use caller::{Caller, Right, Rights};
pub use connection::Patience;
pub use health::EngineProbe;
pub use idempotency::Once;
pub use import::Imports;
pub use job_request::JobRules;
pub use pools::Pools;
pub use problem::{Problem, Slug};
pub use proxies::Proxies;
pub use serve::{ServeConfig, serve};
pub use sign_in::{CALLBACK, PAGES};
pub use streams::{StreamBounds, Streams};
