//! The conversation of a session, as a job of the session is told of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::JobId;

/// What was said in a session before an attempt begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// A summary of the messages that are older than [`earlier`](Self::earlier); none if there are no older ones.
    pub summary: Option<String>,
    /// Messages of the session's earlier jobs, oldest first.
    pub earlier: Vec<Message>,
    /// Messages of this job that an earlier attempt, or a job that this one continues, has already stored, oldest first.
    /// The team goes on after them, so that no model call is made twice.
    pub begun: Vec<Message>,
}

/// One message, with the fields that its event and the API have too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The job that it belongs to.
    pub job: JobId,
    /// When it was stored.
    pub at: Timestamp,
    /// Who wrote it.
    pub role: MessageRole,
    /// The role of the team that wrote it, or whose tool call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Its text; may be empty beside tool calls.
    pub content: String,
    /// The tool calls that it makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<MessageToolCall>,
    /// The tool call that it is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// What else its writer keeps with it, such as the reasoning that a provider wants to have sent back.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// Who wrote a message (`role` of `OpenAI`'s chat completions API).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageRole {
    /// The platform: a summary of older messages.
    System,
    /// The user: the prompt of a job, or the answer to a question.
    User,
    /// A model, in a role of the team.
    Assistant,
    /// A tool.
    Tool,
}

/// A tool call of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageToolCall {
    /// Always `tool_call`.
    #[serde(rename = "type", default = "tool_call")]
    pub kind: String,
    /// The id that its result names.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments: an object. Long texts in it may have been shortened when it was stored.
    pub args: Value,
}

fn tool_call() -> String {
    "tool_call".to_owned()
}
