//! What happened in a session: events, how much of them a log may hold, and the removal of secrets.

pub(crate) mod event;
pub(crate) mod redact;
pub(crate) mod run_log;
