//! The conversation in a request: the prompt, the tools that may be called, and the calls so far.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::LlmError;
use crate::model::request::ChatRequest;

/// A conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The prompt of the user.
    pub(super) prompt: String,
    /// The tools that may be called.
    tools: Vec<String>,
    /// The tool calls since the prompt, with their results.
    pub(super) steps: Vec<Step>,
}

/// A tool call that was made, and its result.
#[derive(Debug)]
pub(super) struct Step {
    tool: String,
    arguments: Map<String, Value>,
    result: Result<String, String>,
}

/// A tool call that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// Its purpose, in words.
    pub(super) intent: String,
    /// The tool.
    pub(super) tool: &'static str,
    /// Its arguments. A call is recognised by the tool and the first argument.
    values: Vec<(&'static str, String)>,
}

/// The outcome of a tool call.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToolOutcome<'a> {
    Done(&'a str),
    Failed(&'a str),
    NotAvailable,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Value>,
    tool_call_id: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    arguments: String,
}

impl Conversation {
    pub(super) fn read(request: &ChatRequest) -> Result<Self, LlmError> {
        let messages: Vec<Message> = request.field("messages")?.unwrap_or_default();
        let tools: Vec<Value> = request.field("tools")?.unwrap_or_default();
        let asked = messages.iter().rposition(|message| message.role == "user");
        let prompt = asked.map(|at| messages[at].text()).unwrap_or_default();
        let since = &messages[asked.map_or(0, |at| at + 1)..];
        Ok(Self {
            prompt: super::prompt::users_words(&prompt),
            tools: tools
                .iter()
                .filter_map(|tool| tool["function"]["name"].as_str())
                .map(str::to_owned)
                .collect(),
            steps: since.iter().flat_map(|message| message.steps(since)).collect(),
        })
    }

    /// The outcome of `call`, if it was made; otherwise `call` as the error, which is the next call to make. So a script
    /// whose steps are `conversation.outcome_of(step)?` advances by one step with every request.
    pub(super) fn outcome_of(&self, call: Call) -> Result<ToolOutcome<'_>, Call> {
        if !self.tools.iter().any(|name| name == call.tool) {
            return Ok(ToolOutcome::NotAvailable);
        }
        match self.steps.iter().find(|step| step.is(&call)) {
            Some(step) => Ok(match &step.result {
                Ok(text) => ToolOutcome::Done(text),
                Err(text) => ToolOutcome::Failed(text),
            }),
            None => Err(call),
        }
    }
}

impl<'a> ToolOutcome<'a> {
    /// The result, if there is one.
    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Done(text) => Some(text),
            Self::Failed(_) | Self::NotAvailable => None,
        }
    }

    /// The error, if there is one.
    pub(super) fn problem(self) -> Option<&'a str> {
        match self {
            Self::Done(_) => None,
            Self::Failed(text) => Some(text),
            Self::NotAvailable => Some("I was given no tool for it"),
        }
    }
}

impl Call {
    pub(super) fn new(tool: &'static str, intent: String, values: &[(&'static str, &str)]) -> Self {
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { intent, tool, values }
    }

    /// The arguments as the JSON object that a model writes.
    pub(super) fn arguments(&self) -> Value {
        Value::Object(
            self.values.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect(),
        )
    }
}

impl Step {
    fn is(&self, call: &Call) -> bool {
        let first = call.values.first().map(|(_, value)| value.as_str());
        self.tool == call.tool && self.arguments.values().any(|value| value.as_str() == first)
    }
}

impl Message {
    /// Its text; of a list of parts, the text parts.
    fn text(&self) -> String {
        match &self.content {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        }
    }

    fn steps(&self, since: &[Self]) -> Vec<Step> {
        let answered = |call: &ToolCall| {
            let result = since.iter().find(|other| other.tool_call_id.as_ref() == Some(&call.id))?;
            Some(Step {
                tool: call.function.name.clone(),
                arguments: serde_json::from_str(&call.function.arguments).unwrap_or_default(),
                result: result_of(&call.function.name, result.text()),
            })
        };
        self.tool_calls.iter().flatten().filter_map(answered).collect()
    }
}

/// Distinguishes an error from a result: the runner begins an error with `error: `, and each line of a file that was read with
/// its number and a tab.
fn result_of(tool: &str, text: String) -> Result<String, String> {
    match text.strip_prefix("error: ") {
        Some(error) => Err(error.to_owned()),
        None if tool == "read_file" => Ok(without_numbers(&text)),
        None => Ok(text),
    }
}

fn without_numbers(text: &str) -> String {
    let line = |line: &str| match line.split_once('\t') {
        Some((number, rest)) if number.trim_start().parse::<u64>().is_ok() => rest.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_without_the_numbers_of_its_lines() {
        let read = |text: &str| result_of("read_file", text.to_owned());
        assert_eq!(read("    1\tlet a = 1;\n    2\t\n   10\t\tb\n"), Ok("let a = 1;\n\n\tb\n".to_owned()));
        assert_eq!(read("a\tb"), Ok("a\tb".to_owned()));
        assert_eq!(read("error: no"), Err("no".to_owned()));
    }
}
