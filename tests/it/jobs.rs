//! Jobs: submitted, admitted, run, timed out, and reported.

mod policies;
mod provider;
mod queue;
pub(crate) mod session;
mod timeout;
mod truth;
