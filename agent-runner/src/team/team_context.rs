//! What all roles share, what a role hands on to the next ones, and the form of its requests.

use mgx_protocol::{Conversation, RetryPolicy, Role};
use serde_json::{Value, json};

use super::begun::Begun;
use super::context::Contexts;
use super::files::workspace::Workspace;
use super::model::client::Client;
use super::model::reply::{CallIds, Usage};
use super::report::reporter::EventReporter;
use super::tools::Tool;

/// What all roles share.
#[derive(Debug)]
pub(crate) struct TeamContext {
    pub(crate) client: Client,
    pub(crate) report: EventReporter,
    pub(crate) workspace: Workspace,
    pub(crate) max_turns: u32,
    pub(crate) retry: RetryPolicy,
    pub(crate) contexts: Contexts,
    pub(crate) ids: CallIds,
    pub(crate) begun: Begun,
    pub(crate) conversation: Conversation,
    pub(crate) framework: String,
    /// The files of the workspace when the job began.
    pub(crate) files: String,
    pub(crate) prompt: String,
    /// Whether the request asks for a change of the app, if the router has said so.
    pub(crate) is_change_asked: Option<bool>,
}

/// The result of a role that has finished.
#[derive(Clone, Debug)]
pub(crate) struct RoleOutput {
    /// The role's name.
    pub(crate) role: String,
    /// Its final message, its question, or its findings.
    pub(crate) message: String,
    /// How it ended.
    pub(crate) end: RoleEnd,
    /// The tokens that it has used.
    pub(crate) usage: Usage,
}

/// How a role ended that could finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleEnd {
    /// Its work is done.
    Done,
    /// It asks the user.
    Question,
    /// It sends the work back to the engineer.
    SentBack,
}

/// The body of a request for a streamed reply.
pub(crate) fn request(role: &Role, messages: &[Value], tools: &[Tool]) -> Value {
    let mut request = json!({
        "model": role.model,
        "messages": messages,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if !tools.is_empty() {
        request["tools"] = tools.iter().map(|tool| tool.definition()).collect();
    }
    if let Some(temperature) = role.temperature {
        // through its text, so that 0.7 does not become 0.699999988079071
        request["temperature"] =
            json!(temperature.to_string().parse::<f64>().unwrap_or(f64::from(temperature)));
    }
    if let Some(effort) = &role.effort {
        request["reasoning_effort"] = json!(effort);
    }
    request
}
