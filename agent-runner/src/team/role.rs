//! One role of the team: asks the model, runs the tools that it calls, and asks again until it calls none.

use std::fmt::Write;
use std::io;

use mgx_protocol::{EventKind, Role};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::event_reporter::{Deltas, EventReporter, cut};
use super::llm::{Client, LlmError};
use super::reply::{Reply, ToolCall, Usage};
use super::tools::{Tool, call};
use super::workspace::Workspace;

/// How much of an earlier role's final message the next ones are told, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// The largest conversation, in bytes of JSON; older tool results are left out for newer ones.
const MAX_CONVERSATION_BYTES: usize = 768 * 1024;

/// How many of the newest messages always stay whole.
const NEWEST_KEPT: usize = 8;

/// The result of a role that has finished.
#[derive(Clone, Debug)]
pub(crate) struct RoleOutput {
    /// The role's name.
    pub(crate) role: String,
    /// Its final message.
    pub(crate) message: String,
    /// The tokens that it has used.
    pub(crate) usage: Usage,
}

/// Why a role could not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoleError {
    /// The model gave no reply.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// The role used up its model calls.
    #[error("it did not finish within {0} model calls")]
    Turns(u32),
}

impl From<io::Error> for RoleError {
    fn from(error: io::Error) -> Self {
        Self::Llm(LlmError::Report(error))
    }
}

impl RoleError {
    /// The value of `error_type` in its event.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Llm(error) => error.kind(),
            Self::Turns(_) => "max_turns",
        }
    }
}

/// What all roles share.
#[derive(Debug)]
pub(crate) struct TeamContext {
    pub(crate) client: Client,
    pub(crate) report: EventReporter,
    pub(crate) workspace: Workspace,
    pub(crate) max_turns: u32,
}

impl TeamContext {
    /// Runs `role` on `prompt`, after the roles whose output is `earlier`.
    ///
    /// # Errors
    /// The role could not finish.
    pub(crate) async fn run_role(
        &mut self,
        role: &Role,
        prompt: &str,
        earlier: &[RoleOutput],
    ) -> Result<RoleOutput, RoleError> {
        let tools: Vec<_> = role.tools.iter().filter_map(|name| Tool::named(name)).collect();
        let mut messages = opening(role, prompt, earlier);
        let mut usage = Usage::default();
        for _ in 0..self.max_turns {
            make_room(&mut messages);
            let request = request(role, &messages, &tools);
            let mut deltas = Deltas::of(&mut self.report, &role.name);
            let reply = self.client.turn(&role.name, &request, &mut deltas).await?;
            usage = usage.plus(reply.usage);
            self.report.event(&EventKind::MessageComplete, &role.name, message_data(&reply)).await?;
            messages.push(assistant(&reply));
            if reply.calls.is_empty() {
                return Ok(RoleOutput { role: role.name.clone(), message: reply.content, usage });
            }
            for call in &reply.calls {
                let result = self.use_tool(&role.name, &tools, call).await?;
                messages.push(json!({ "role": "tool", "tool_call_id": call.id, "content": result }));
            }
        }
        Err(RoleError::Turns(self.max_turns))
    }

    /// Runs one tool call and reports it; the text for the model.
    async fn use_tool(&mut self, role: &str, tools: &[Tool], wanted: &ToolCall) -> io::Result<String> {
        let ToolCall { id, name, .. } = wanted;
        let args = arguments(wanted);
        let start = json!({ "tool_call_id": id, "tool_name": name, "tool_args": args });
        self.report.event(&EventKind::ToolStart, role, start).await?;
        let began = Instant::now();
        let outcome = call(&self.workspace, tools, wanted);
        let (success, result) = match &outcome {
            Ok(result) => (true, result.clone()),
            Err(error) => (false, format!("error: {error}")),
        };
        let mut end = json!({
            "tool_call_id": id,
            "tool_name": name,
            "success": success,
            "tool_result": result,
            "duration_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        if let Err(error) = &outcome {
            end["error"] = json!(error);
        }
        self.report.event(&EventKind::ToolEnd, role, end).await?;
        Ok(result)
    }
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
    request
}

/// The first messages: the role's instructions, the user's prompt, and the final messages of earlier roles.
fn opening(role: &Role, prompt: &str, earlier: &[RoleOutput]) -> Vec<Value> {
    let mut task = prompt.to_owned();
    for RoleOutput { role, message, .. } in earlier.iter().filter(|output| !output.message.trim().is_empty())
    {
        // writing into a String cannot fail
        write!(task, "\n\n--- from the {role} ---\n{}", cut(message, MAX_MESSAGE_BYTES)).ok();
    }
    vec![json!({ "role": "system", "content": role.prompt }), json!({ "role": "user", "content": task })]
}

/// A reply as a message of the next request.
fn assistant(reply: &Reply) -> Value {
    let calls: Vec<_> = reply
        .calls
        .iter()
        // some services refuse arguments that are not JSON, even if their own model wrote them
        .map(|call| {
            json!({
                "id": call.id,
                "type": "function",
                "function": { "name": call.name, "arguments": arguments(call).to_string() },
            })
        })
        .collect();
    let mut message = json!({ "role": "assistant", "content": reply.content });
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    message
}

/// A reply as the data of its event.
fn message_data(reply: &Reply) -> Value {
    let mut data = json!({ "content": reply.content, "role": "assistant", "usage": reply.usage });
    if !reply.calls.is_empty() {
        let calls = reply.calls.iter();
        data["tool_calls"] = calls
            .map(|call| json!({ "type": "tool_call", "id": call.id, "name": call.name, "args": arguments(call) }))
            .collect();
    }
    data
}

/// The arguments as an object; an empty one if they are no object.
fn arguments(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments).ok().filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// Leaves out the oldest tool results until the conversation fits.
fn make_room(messages: &mut [Value]) {
    let size = |message: &Value| message.to_string().len();
    let mut total: usize = messages.iter().map(size).sum();
    let old = messages.len().saturating_sub(NEWEST_KEPT);
    for message in messages[..old].iter_mut().filter(|message| message["role"] == "tool") {
        if total <= MAX_CONVERSATION_BYTES {
            return;
        }
        let before = size(message);
        message["content"] = json!("(left out to save room; use the tool again if you need it)");
        total = total.saturating_sub(before.saturating_sub(size(message)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_tool_results_are_left_out_for_new_ones() {
        let result = json!({ "role": "tool", "tool_call_id": "1", "content": "x".repeat(100_000) });
        let mut messages = vec![json!({ "role": "system", "content": "s".repeat(100_000) })];
        messages.extend(std::iter::repeat_n(result, 12));
        make_room(&mut messages);
        let lengths: Vec<_> =
            messages.iter().map(|message| message["content"].as_str().unwrap().len() / 1000).collect();
        assert_eq!(lengths, [100, 0, 0, 0, 0, 100, 100, 100, 100, 100, 100, 100, 100]);
    }

    #[test]
    fn a_role_is_told_what_its_colleagues_said() {
        let role = Role {
            name: "engineer".into(),
            model: "m".into(),
            temperature: Some(0.7),
            prompt: "You build.".into(),
            tools: Vec::new(),
        };
        let output = |role: &str, message: &str| RoleOutput {
            role: role.into(),
            message: message.into(),
            usage: Usage::default(),
        };
        let earlier = [output("architect", "Use one page."), output("silent", " ")];
        insta::assert_json_snapshot!(request(&role, &opening(&role, "a page", &earlier), &[]));
    }
}
