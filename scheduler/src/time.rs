//! The clock, and pauses between attempts.

pub(crate) mod backoff;
pub(crate) mod clock;
