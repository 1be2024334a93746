//! Jobs: who runs, when, and how far each has come. Knows no concrete runtime, no HTTP, no configuration file.
//!
//! Read [`job`], `lifecycle`, [`scheduler`], in that order.

pub mod blueprint;
pub mod clock;
pub mod config;
mod core;
mod demand;
mod engine;
pub mod event;
pub mod explain;
pub mod handover;
pub mod history;
pub mod job;
pub mod journal;
mod lifecycle;
mod line;
mod live;
pub mod log;
#[cfg(feature = "testing")]
pub mod memory;
mod pace;
mod reaper;
pub mod redact;
mod rooms;
pub mod scheduler;
mod slots;
pub mod submission;
pub mod terms;
mod usage;
mod verdict;

pub use blueprint::{Blueprint, Plan};
pub use clock::{Clock, Uptime};
pub use config::Config;
pub use demand::{Budget, Caps};
pub use event::{Event, NewEvent};
pub use explain::{Explanation, WaitsFor};
pub use handover::Handover;
pub use history::{HistoryLimit, HistorySize};
pub use job::{ExitStatus, Failure, Job, JobSpec, Kind, Outcome, State, Transition, WrongState};
pub use journal::{Entry, Head, JobFilter, Journal, JournalError};
pub use line::Fairness;
pub use log::EventLog;
pub use redact::Redactor;
pub use rooms::QueueScope;
pub use scheduler::{CancelError, Cancelling, Load, Scheduler};
pub use submission::{Accepted, Place, Rejection, Submission};
pub use terms::{Group, Retry, Strategy, Terms};
pub use usage::Binding;
