//! A model's reply: what it says, what it thinks, which tools it calls, why it ended, and how it is sent back.

pub(crate) mod arguments;
pub(crate) mod assembly;
mod blocks;
mod chunk;
mod fragments;
pub(crate) mod loose;
pub(crate) mod piece;
mod text_calls;
mod thoughts;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use arguments::Arguments;

/// How much of arguments that cannot be read is sent back to the model, in bytes.
const MAX_UNREADABLE_BYTES: usize = 600;

/// The longest name of a tool, in bytes (`OpenAI`'s limit).
const MAX_NAME_BYTES: usize = 64;

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Reply {
    /// What the model says, without its thoughts and without calls that it wrote as text.
    pub(crate) content: String,
    /// What it thought before.
    pub(crate) reasoning: String,
    /// The tools that it calls.
    pub(crate) calls: Vec<ToolCall>,
    /// How many more it called than one reply may.
    pub(crate) calls_left_out: usize,
    /// Why it ended.
    pub(crate) finish: FinishReason,
    /// The tokens of the request and of this reply.
    pub(crate) usage: Usage,
    /// The content holds a call in the markup of some model's chat format that could not be read as one.
    pub(crate) has_unread_call: bool,
    /// Fields of the message that the provider wants to have sent back, such as `reasoning_details`.
    pub(crate) provider_fields: Map<String, Value>,
}

/// A tool that the model wants to use.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ToolCall {
    /// Identifies the call in the conversation.
    pub(crate) id: String,
    /// The tool: letters, digits, `_` and `-`.
    pub(crate) name: String,
    /// Its arguments.
    pub(crate) arguments: Arguments,
    /// Fields of the call that the provider wants to have sent back, such as `extra_content`.
    pub(crate) provider_fields: Map<String, Value>,
}

/// Why a reply ended (`finish_reason` of the chat completions API, in its usual spellings).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FinishReason {
    /// The model has finished.
    Stop,
    /// It waits for the results of its calls.
    ToolCalls,
    /// It reached the limit of a reply's tokens.
    Length,
    /// A filter of the provider ended it.
    ContentFilter,
    /// The stream ended without a reason.
    #[default]
    Missing,
    /// A reason that is none of these.
    Other(String),
}

/// The tokens of a request and its reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

impl Usage {
    /// The sum of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
        }
    }
}

impl FinishReason {
    fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "" => Self::Missing,
            "stop" | "end_turn" | "eos" | "eos_token" | "stop_sequence" | "completed" => Self::Stop,
            "tool_calls" | "tool_call" | "function_call" | "tool_use" => Self::ToolCalls,
            "length" | "max_tokens" | "max_output_tokens" | "model_length" => Self::Length,
            "content_filter" | "content_filtered" | "safety" | "recitation" | "blocklist"
            | "prohibited_content" | "sensitive" | "refusal" => Self::ContentFilter,
            other => Self::Other(other.chars().take(40).collect()),
        }
    }
}

impl Reply {
    /// The reply as a message of the next request. It holds what the strictest providers ask for: no empty content beside
    /// calls, arguments that are JSON objects, and the reasoning of a reply with calls in the field in which it came.
    pub(crate) fn message(&self) -> Value {
        let mut message = json!({ "role": "assistant" });
        message["content"] = match (self.content.trim().is_empty(), self.calls.is_empty()) {
            (true, true) => json!("(no text)"),
            (true, false) => Value::Null,
            (false, _) => json!(self.content),
        };
        if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.iter().map(ToolCall::message).collect();
            for (key, value) in &self.provider_fields {
                message[key] = value.clone();
            }
        }
        message
    }
}

impl ToolCall {
    fn message(&self) -> Value {
        let arguments = match &self.arguments {
            Arguments::Object { as_written, value, repairs } if !repairs.is_empty() => {
                if serde_json::from_str::<Value>(as_written).is_ok_and(|written| written.is_object()) {
                    as_written.clone()
                } else {
                    value.to_string()
                }
            }
            Arguments::Object { as_written, .. } => as_written.clone(),
            Arguments::Invalid { as_written, .. } | Arguments::Cut { as_written } => {
                let end = as_written.floor_char_boundary(MAX_UNREADABLE_BYTES);
                json!({ "unreadable": as_written[..end] }).to_string()
            }
        };
        let mut call = json!({
            "id": self.id,
            "type": "function",
            "function": { "name": self.name, "arguments": arguments },
        });
        for (key, value) in &self.provider_fields {
            call[key] = value.clone();
        }
        call
    }
}

/// The result of a call as a message of the next request; some providers refuse an empty one.
pub(crate) fn tool_result_message(call_id: &str, text: &str) -> Value {
    let content = if text.trim().is_empty() { "(empty)" } else { text };
    json!({ "role": "tool", "tool_call_id": call_id, "content": content })
}

/// The ids of the calls of a conversation: each is there once.
#[derive(Debug, Default)]
pub(crate) struct CallIds(HashSet<String>);

impl CallIds {
    /// Marks `id` as used.
    pub(crate) fn add(&mut self, id: &str) {
        self.0.insert(id.to_owned());
    }

    /// The provider's id, or one of ours if the provider has sent none, or one that was used before.
    fn unique(&mut self, id: &str) -> String {
        let is_plain = (1..=256).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if is_plain && self.0.insert(id.to_owned()) {
            return id.to_owned();
        }
        loop {
            let id = random_id(Uuid::now_v7().as_u128());
            if self.0.insert(id.clone()) {
                return id;
            }
        }
    }
}

/// Nine letters and digits, which is the one form that every provider takes (Mistral takes no other).
fn random_id(mut random: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut id = String::with_capacity(9);
    for _ in 0..9 {
        id.push(char::from(DIGITS[usize::try_from(random % 36).unwrap_or(0)]));
        random /= 36;
    }
    id
}

/// The name of a tool without what a model's chat format has left in it: `write_file<|channel|>commentary` → `write_file`.
fn clean_name(name: &str) -> String {
    let name = name.trim();
    // some models write a name space before it
    let name = ["functions.", "default_api.", "default_api:", "tools."]
        .into_iter()
        .find_map(|space| name.strip_prefix(space))
        .unwrap_or(name);
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(name.len());
    let clean = &name[..end.min(MAX_NAME_BYTES)];
    if clean.is_empty() { "unnamed".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_a_provider_takes_back() {
        for (name, clean) in [
            ("write_file", "write_file"),
            ("write_file<|channel|>commentary", "write_file"),
            (" functions.read_file ", "read_file"),
            ("", "unnamed"),
            ("<b>", "unnamed"),
        ] {
            assert_eq!(clean_name(name), clean, "{name}");
        }
        assert_eq!(clean_name(&"x".repeat(100)).len(), 64);
    }

    #[test]
    fn an_id_is_used_once() {
        let mut ids = CallIds::default();
        assert_eq!(ids.unique("a"), "a");
        let [second, third] = [ids.unique("a"), ids.unique("")];
        assert!(second != "a" && second != third && [&second, &third].iter().all(|id| id.len() == 9));
        assert_eq!(random_id(0), "000000000");
    }

    #[test]
    fn a_reply_is_sent_back_as_strict_providers_want_it() {
        let call = ToolCall {
            id: "1".into(),
            name: "write_file".into(),
            arguments: Arguments::read("{\"path\": \"x\",}", false),
            provider_fields: Map::from_iter([("extra_content".into(), json!({ "signature": "s" }))]),
        };
        let cut = ToolCall {
            id: "2".into(),
            arguments: Arguments::read("{\"path\": \"x", true),
            provider_fields: Map::new(),
            ..call.clone()
        };
        let reply = Reply {
            calls: vec![call, cut],
            provider_fields: Map::from_iter([("reasoning_content".into(), json!("I think"))]),
            ..Reply::default()
        };
        insta::assert_json_snapshot!(reply.message());
        let text = Reply { calls: Vec::new(), ..reply };
        assert_eq!(text.message(), json!({ "role": "assistant", "content": "(no text)" }));
        assert_eq!(tool_result_message("1", "")["content"], "(empty)");
    }
}
