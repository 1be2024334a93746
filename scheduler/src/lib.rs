//! Jobs: their states, the queue, the task that runs each of them, and what happens after a restart. Knows no concrete
//! runtime, no HTTP, no configuration file.
//!
//! Read `job`, `lifecycle`, `scheduler`, in that order.

mod config;
mod core;
mod events;
mod explain;
mod job;
mod journal;
mod lifecycle;
mod queue;
mod recovery;
mod scheduler;
mod time;

pub use config::Config;
pub use events::event::{Event, NewEvent};
pub use time::clock::{Clock, Uptime};

pub use events::redact::Redactor;
pub use events::run_log::{HistoryLimit, HistorySize};
pub use explain::{Explanation, WaitsFor};
pub use job::blueprint::{Blueprint, Plan};
pub use job::options::{Group, MAX_PRIORITY, Retry, SchedulingOptions, Strategy};
pub use job::state::{Failure, Outcome, State, Transition, WrongState};
pub use job::{ExitStatus, Job, JobSpec, Kind, ProviderWait};
pub use journal::event_log::EventLog;
#[cfg(feature = "testing")]
pub use journal::memory;
pub use journal::reader::JobReader;
pub use journal::{Entry, Head, JobFilter, Journal, JournalError};
pub use queue::QueuePosition;
pub use queue::demand::{Budget, Caps};
pub use queue::fair_queue::Fairness;
pub use queue::limit_key::{LimitKey, Resource};
pub use queue::permits::QueueScope;
pub use queue::usage::BlockingLimit;
pub use recovery::report::RecoveryReport;
pub use scheduler::submission::{Accepted, Rejection, Submission};
pub use scheduler::{CancelError, CancelRequest, Load, Scheduler, StartError};
