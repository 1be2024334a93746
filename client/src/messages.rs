//! The conversation of a session.

use jiff::Timestamp;
use mgx_protocol::{JobId, MessageRole, MessageToolCall, SessionId};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::client::Client;
use crate::error::Error;

/// A message of the conversation.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Message {
    /// Its id.
    pub message_id: String,
    /// The session.
    pub session_id: SessionId,
    /// The number of its event.
    pub seq: u64,
    /// The job that it belongs to.
    pub job_id: JobId,
    /// When it was stored.
    pub timestamp: Timestamp,
    /// Who wrote it.
    pub role: MessageRole,
    /// The role of the team that wrote it, or whose tool call it answers.
    pub agent_name: Option<String>,
    /// Its text.
    pub content: String,
    /// The tool calls that it makes.
    #[serde(default)]
    pub tool_calls: Vec<MessageToolCall>,
    /// The tool call that it is the result of.
    pub tool_call_id: Option<String>,
    /// What else its writer keeps with it.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// A page of messages, oldest first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<Message>,
    /// The number after which the next page begins; absent at the end.
    pub next: Option<u64>,
}

impl Client {
    /// A page of the messages of a session after the event of this number; `None` if there is no such session.
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn messages(&self, session: &SessionId, after: u64) -> Result<Option<MessagePage>, Error> {
        let path = format!("/api/sessions/{session}/messages");
        self.found(self.request(Method::GET, &path).query(&[("after", after)])).await
    }
}
