//! Admission: which jobs the scheduler is asked to run. Each policy is a layer around the scheduler, in a file of its
//! own; nothing here knows how a job runs, or of HTTP.
//!
//! Read [`admission`], then any policy: `time_limits`, `fit`, `budget`, `rate`, `queue`.

pub mod admission;
mod batch;
pub mod budget;
pub mod fit;
mod limits;
mod policy;
mod queue;
pub mod rate;
pub mod refusal;
#[cfg(test)]
mod testing;
pub mod time_limits;

pub use admission::{Admission, Policies};
pub use batch::{Batch, Decision, RequestedJob, Submitter};
pub use budget::SessionBudget;
/// The time as the rate is measured by: the machine's own, and one that stands still until a test moves it.
pub use governor::clock::{FakeRelativeClock, MonotonicClock};
pub use limits::{LlmResource, SpentBudget, TimeLimit};
pub use rate::Rate;
pub use refusal::{LimitHit, Refusal, limit_keys};
pub use time_limits::TimeLimits;
