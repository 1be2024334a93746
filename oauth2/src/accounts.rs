//! Accounts: users, their passwords, API tokens and browser sessions, the limit on guessing, the audit log's entries.

pub(crate) mod api_token;
pub(crate) mod audit;
pub(crate) mod browser_session;
pub(crate) mod hasher;
pub(crate) mod password_rules;
pub(crate) mod passwords;
pub(crate) mod throttle;
pub(crate) mod user;
