//! The model: the client of the LLM proxy, its failures and their repetition, and the replies.

pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod reply;
pub(crate) mod retry;
