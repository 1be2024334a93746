//! A session: one chat, one app, one workspace.

use jiff::Timestamp;
use mgx_protocol::{SessionId, WorkspaceId};
use serde::{Deserialize, Serialize};

use crate::framework::Framework;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its name, for people.
    pub name: String,
    /// What its app is built with.
    pub framework: Framework,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The user that it belongs to.
    pub user: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// What its agents have used of the model so far.
    pub usage: Usage,
}

/// What a session has used of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Requests that reached a model.
    pub requests: u64,
    /// Tokens sent to it.
    pub prompt_tokens: u64,
    /// Tokens in its answers.
    pub completion_tokens: u64,
    /// Their cost, in millionths of the currency unit of the operator's prices.
    pub cost_micros: u64,
}
