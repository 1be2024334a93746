//! What a provider refuses in a request, though it can be left out or said in another way: that is done, and remembered for
//! the provider's model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::model::request::ChatRequest;

/// The models whose refusals are remembered; there are few.
const MAX_MODELS: usize = 256;

/// A field that a request can do without, or have under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refused {
    /// `stream_options`: the usage is estimated then.
    StreamOptions,
    /// `temperature`: the model has one value only.
    Temperature,
    /// `reasoning_effort`: the model does not think, or not by this name.
    ReasoningEffort,
    /// `parallel_tool_calls`.
    ParallelToolCalls,
    /// `max_tokens`: the model wants `max_completion_tokens`.
    MaxTokens,
    /// `max_completion_tokens`: the model wants `max_tokens`.
    MaxCompletionTokens,
    /// `cache_control` in the messages.
    CacheControl,
    /// The reasoning of earlier replies in the messages: some providers demand it, others refuse it.
    EarlierReasoning,
    /// A `system` message: it becomes a part of the user's first message.
    SystemRole,
    /// `content: null` beside calls: it becomes a short text.
    NullContent,
}

/// The fields of a message that hold reasoning.
const REASONING: [&str; 4] = ["reasoning_content", "reasoning_details", "thinking_blocks", "reasoning"];

const ALL: [Refused; 10] = [
    Refused::EarlierReasoning,
    Refused::SystemRole,
    Refused::NullContent,
    Refused::MaxTokens,
    Refused::MaxCompletionTokens,
    Refused::StreamOptions,
    Refused::Temperature,
    Refused::ReasoningEffort,
    Refused::ParallelToolCalls,
    Refused::CacheControl,
];

/// What each model has refused.
#[derive(Debug, Default)]
pub(crate) struct RefusedFields(Mutex<BTreeMap<String, BTreeSet<Refused>>>);

impl RefusedFields {
    /// Whether anything is remembered of `model`.
    pub(crate) fn knows(&self, model: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(model)
    }

    /// Leaves out of a request for `model` what the model has refused before.
    pub(crate) fn apply(&self, model: &str, request: &mut ChatRequest) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for field in all.get(model).into_iter().flatten() {
            field.leave_out(request);
        }
    }

    /// Forgets that a model refuses the reasoning of earlier replies if it says (in lower case) that it is missing: one name
    /// may stand for several providers. Whether it had been left out.
    pub(crate) fn forget(&self, model: &str, words: &str) -> bool {
        let asks = REASONING.iter().any(|name| names(words, name)) && is_demand(words);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asks && all.get_mut(model).is_some_and(|fields| fields.remove(&Refused::EarlierReasoning))
    }

    /// Remembers what a refusal (its message in lower case) names, and leaves it out of the request; whether it named a field
    /// that the request had.
    pub(crate) fn learn(&self, model: &str, words: &str, request: &mut ChatRequest) -> bool {
        let Some(field) = ALL.into_iter().find(|field| field.is_named(words) && field.is_in(request)) else {
            return false;
        };
        field.leave_out(request);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MAX_MODELS || all.contains_key(model) {
            all.entry(model.to_owned()).or_default().insert(field);
        }
        true
    }
}

impl Refused {
    fn name(self) -> &'static str {
        match self {
            Self::StreamOptions => "stream_options",
            Self::Temperature => "temperature",
            Self::ReasoningEffort => "reasoning_effort",
            Self::ParallelToolCalls => "parallel_tool_calls",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::CacheControl => "cache_control",
            Self::EarlierReasoning | Self::SystemRole | Self::NullContent => "messages",
        }
    }

    fn is_named(self, words: &str) -> bool {
        match self {
            Self::StreamOptions => words.contains("stream_options") || words.contains("include_usage"),
            Self::ReasoningEffort => {
                words.contains("reasoning_effort")
                    || (words.contains("reasoning") && words.contains("not support"))
            }
            // one that is missing is another complaint about the same field
            Self::EarlierReasoning => REASONING.iter().any(|name| names(words, name)) && !is_demand(words),
            Self::SystemRole => [
                "system role",
                "system message",
                "role 'system'",
                "role \"system\"",
                "role system",
                "role: system",
                "developer instruction",
                "only user and assistant roles",
            ]
            .iter()
            .any(|name| words.contains(name)),
            Self::NullContent => {
                words.contains("content")
                    && ["null", "none is not", "should be a valid string", "must be a string", "nil"]
                        .iter()
                        .any(|word| words.contains(word))
            }
            Self::Temperature
            | Self::ParallelToolCalls
            | Self::MaxTokens
            | Self::MaxCompletionTokens
            | Self::CacheControl => words.contains(self.name()),
        }
    }

    fn is_in(self, request: &ChatRequest) -> bool {
        match self {
            Self::CacheControl => request.has_cache_control(),
            Self::EarlierReasoning => {
                request.any_message(|message| REASONING.iter().any(|name| message.get(*name).is_some()))
            }
            Self::SystemRole => request.any_message(|message| message["role"] == "system"),
            Self::NullContent => request.any_message(has_null_content),
            Self::StreamOptions
            | Self::Temperature
            | Self::ReasoningEffort
            | Self::ParallelToolCalls
            | Self::MaxTokens
            | Self::MaxCompletionTokens => request.has(self.name()),
        }
    }

    fn leave_out(self, request: &mut ChatRequest) {
        match self {
            Self::MaxTokens => request.rename("max_tokens", "max_completion_tokens"),
            Self::MaxCompletionTokens => request.rename("max_completion_tokens", "max_tokens"),
            Self::CacheControl => request.remove_cache_control(),
            Self::EarlierReasoning => request.change_messages(|messages| {
                for message in messages.iter_mut().filter_map(Value::as_object_mut) {
                    message.retain(|name, _| !REASONING.contains(&name.as_str()));
                }
            }),
            Self::SystemRole => request.change_messages(system_into_user),
            Self::NullContent => request.change_messages(|messages| {
                for message in messages.iter_mut().filter(|message| has_null_content(message)) {
                    message["content"] = json!("(calls tools)");
                }
            }),
            Self::StreamOptions | Self::Temperature | Self::ReasoningEffort | Self::ParallelToolCalls => {
                request.remove(self.name());
            }
        }
    }
}

/// Whether a refusal demands a field rather than refusing it.
fn is_demand(words: &str) -> bool {
    ["missing", "must be passed", "required", "must be present", "expected"]
        .iter()
        .any(|word| words.contains(word))
}

fn has_null_content(message: &Value) -> bool {
    message.get("content").is_some_and(Value::is_null)
}

/// Whether `name` stands in `words` by itself, not as a part of a longer name.
fn names(words: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    words.match_indices(name).any(|(at, _)| {
        let quoted = words[..at].ends_with(['\'', '"', '`', '.', ']', '/']);
        let whole = !words[..at].ends_with(is_part) && !words[at + name.len()..].starts_with(is_part);
        // "reasoning" alone is a word of English too
        whole && (quoted || name.contains('_'))
    })
}

/// Puts the text of system messages before the text of the user's first message.
fn system_into_user(messages: &mut Vec<Value>) {
    let system = messages.extract_if(.., |message| message["role"] == "system");
    let system: Vec<_> =
        system.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect();
    match messages.iter_mut().find(|message| message["role"] == "user") {
        Some(user) => {
            let text = user["content"].as_str().unwrap_or_default();
            user["content"] = json!(format!("{}\n\n{text}", system.join("\n\n")));
        }
        None => messages.insert(0, json!({ "role": "user", "content": system.join("\n\n") })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_left_out_from_then_on() {
        let fields = RefusedFields::default();
        let request = || {
            ChatRequest::of(
                &json!({ "messages": [1], "stream_options": {}, "max_tokens": 5, "temperature": 0.5 }),
            )
        };
        let mut first = request();
        assert!(fields.learn("m", "body.stream_options: extra inputs are not permitted", &mut first));
        assert!(fields.learn("m", "use 'max_completion_tokens' instead of 'max_tokens'", &mut first));
        assert!(!fields.learn("m", "something else", &mut first));
        assert!(!fields.learn("m", "stream_options again", &mut first), "it is left out already");
        let mut second = request();
        fields.apply("m", &mut second);
        for request in [first, second] {
            assert!(!request.has("stream_options") && !request.has("max_tokens"));
            assert!(request.has("max_completion_tokens") && request.has("temperature"));
        }
        let mut other = request();
        fields.apply("other", &mut other);
        assert!(other.has("stream_options"));
    }

    #[test]
    fn messages_are_said_in_another_way() {
        let request = || {
            ChatRequest::of(&json!({ "messages": [
                { "role": "system", "content": "s" },
                { "role": "user", "content": "u" },
                { "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [] },
            ] }))
        };
        let messages = |words: &str| {
            let mut request = request();
            let has_learnt = RefusedFields::default().learn("m", words, &mut request);
            has_learnt.then(|| request.field::<Value>("messages").unwrap().unwrap())
        };
        let found = messages("messages.2.reasoning_content: extra inputs are not permitted").unwrap();
        assert!(found[2].get("reasoning_content").is_none(), "{found}");
        let found = messages("property 'messages.2.reasoning' is unsupported");
        assert!(found.is_some());
        let missing = "reasoning_content is missing in assistant tool call message at index 2";
        assert_eq!(messages(missing), None);
        let fields = RefusedFields::default();
        assert!(!fields.forget("m", missing));
        assert!(fields.learn("m", "reasoning_content: extra inputs are not permitted", &mut request()));
        assert!(fields.forget("m", missing));
        let found = messages("developer instruction is not enabled for models/gemma").unwrap();
        assert_eq!((&found[0]["content"], found.as_array().unwrap().len()), (&json!("s\n\nu"), 2));
        let found = messages("messages.2.content: none is not an allowed value").unwrap();
        assert_eq!(found[2]["content"], "(calls tools)");
    }
}
