//! Jobs: who runs, when, and how far each has come. Knows no concrete runtime, no HTTP, no configuration file.
//!
//! Read [`job`], `lifecycle`, [`scheduler`], in that order.

pub mod blueprint;
pub mod event;
pub mod job;
pub mod journal;
pub mod log;
pub mod scheduler;

pub use blueprint::{Blueprint, Plan};
pub use event::{Event, NewEvent};
pub use job::{ExitStatus, Failure, Job, JobSpec, Kind, Outcome, State, Transition, WrongState};
pub use journal::{Entry, Head, JobFilter, Journal, JournalError};
pub use log::EventLog;
pub use scheduler::{Accepted, CancelError, Cancelling, Place, Rejection, Scheduler, Submission};
