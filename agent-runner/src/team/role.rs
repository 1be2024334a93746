//! One member of the team at work: asks the model, carries out the tools it calls, and asks again until it is done.

use std::fmt::Write;
use std::io;

use mgx_protocol::Role;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::llm::{Client, LlmError};
use super::reply::{Reply, ToolCall, Usage};
use super::report::{Deltas, Report, cut};
use super::tools::{Tool, call};
use super::workspace::Workspace;

/// How much of each colleague's final message is handed over, in bytes.
const HAND_OVER: usize = 16 * 1024;

/// How much a conversation may hold; older tool results make room for newer ones. In bytes of JSON.
const CONVERSATION: usize = 768 * 1024;

/// How many of the newest messages always stay whole.
const KEEP: usize = 8;

/// What a role has said when it was done.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Its name.
    pub(crate) role: String,
    /// Its final message.
    pub(crate) output: String,
    /// What it has used.
    pub(crate) usage: Usage,
}

/// Why a role could not finish.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoleError {
    /// The model does not answer.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// It never came to an end.
    #[error("it did not finish within {0} model calls")]
    Turns(u32),
}

impl From<io::Error> for RoleError {
    fn from(error: io::Error) -> Self {
        Self::Llm(LlmError::Report(error))
    }
}

impl RoleError {
    /// Its kind, for programs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Llm(error) => error.kind(),
            Self::Turns(_) => "max_turns",
        }
    }
}

/// What every role works with.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) report: Report,
    pub(crate) workspace: Workspace,
    pub(crate) max_turns: u32,
}

impl Desk {
    /// Lets `role` work on `prompt` after its `colleagues`.
    ///
    /// # Errors
    /// It could not finish.
    pub(crate) async fn work(
        &mut self,
        role: &Role,
        prompt: &str,
        colleagues: &[Done],
    ) -> Result<Done, RoleError> {
        let tools: Vec<_> = role.tools.iter().filter_map(|name| Tool::named(name)).collect();
        let mut messages = opening(role, prompt, colleagues);
        let mut usage = Usage::default();
        for _ in 0..self.max_turns {
            make_room(&mut messages);
            let request = request(role, &messages, &tools);
            let mut deltas = Deltas::of(&mut self.report, &role.name);
            let reply = self.client.turn(&role.name, &request, &mut deltas).await?;
            usage = usage.plus(reply.usage);
            self.report.event("message_complete", &role.name, said(&reply)).await?;
            messages.push(assistant(&reply));
            if reply.calls.is_empty() {
                return Ok(Done { role: role.name.clone(), output: reply.content, usage });
            }
            for call in &reply.calls {
                let result = self.use_tool(&role.name, &tools, call).await?;
                messages.push(json!({ "role": "tool", "tool_call_id": call.id, "content": result }));
            }
        }
        Err(RoleError::Turns(self.max_turns))
    }

    /// Carries out one call, and tells how it went; what the model is to read about it.
    async fn use_tool(&mut self, role: &str, tools: &[Tool], wanted: &ToolCall) -> io::Result<String> {
        let ToolCall { id, name, .. } = wanted;
        let args = arguments(wanted);
        let start = json!({ "tool_call_id": id, "tool_name": name, "tool_args": args });
        self.report.event("tool_start", role, start).await?;
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
        self.report.event("tool_end", role, end).await?;
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
        // as it was written: 0.7, not the nearest 32-bit number in 64 bits
        request["temperature"] =
            json!(temperature.to_string().parse::<f64>().unwrap_or(f64::from(temperature)));
    }
    request
}

/// The role's own instructions, what the user wants, and what the colleagues have said.
fn opening(role: &Role, prompt: &str, colleagues: &[Done]) -> Vec<Value> {
    let mut task = prompt.to_owned();
    for Done { role, output, .. } in colleagues.iter().filter(|done| !done.output.trim().is_empty()) {
        // a String takes every write
        write!(task, "\n\n--- from the {role} ---\n{}", cut(output, HAND_OVER)).ok();
    }
    vec![json!({ "role": "system", "content": role.prompt }), json!({ "role": "user", "content": task })]
}

/// A reply as the next request repeats it.
fn assistant(reply: &Reply) -> Value {
    let calls: Vec<_> = reply
        .calls
        .iter()
        // some services refuse a conversation with arguments that are not JSON, even their own
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

/// A reply as its event tells it.
fn said(reply: &Reply) -> Value {
    let mut data = json!({ "content": reply.content, "role": "assistant", "usage": reply.usage });
    if !reply.calls.is_empty() {
        let calls = reply.calls.iter();
        data["tool_calls"] = calls
            .map(|call| json!({ "type": "tool_call", "id": call.id, "name": call.name, "args": arguments(call) }))
            .collect();
    }
    data
}

/// The arguments as an object; an empty one if they are none.
fn arguments(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments).ok().filter(Value::is_object).unwrap_or_else(|| json!({}))
}

/// Empties the oldest tool results until the conversation fits.
fn make_room(messages: &mut [Value]) {
    let size = |message: &Value| message.to_string().len();
    let mut total: usize = messages.iter().map(size).sum();
    let old = messages.len().saturating_sub(KEEP);
    for message in messages[..old].iter_mut().filter(|message| message["role"] == "tool") {
        if total <= CONVERSATION {
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
    fn old_tool_results_make_room_for_new_ones() {
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
        let colleague = |role: &str, output: &str| Done {
            role: role.into(),
            output: output.into(),
            usage: Usage::default(),
        };
        let colleagues = [colleague("architect", "Use one page."), colleague("silent", " ")];
        insta::assert_json_snapshot!(request(&role, &opening(&role, "a page", &colleagues), &[]));
    }
}
