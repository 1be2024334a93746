//! Fields of a request that a provider refuses: they are left out, and that is remembered for the provider's model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

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
}

const ALL: [Refused; 7] = [
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
    /// Leaves out of a request for `model` what the model has refused before.
    pub(crate) fn apply(&self, model: &str, request: &mut ChatRequest) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for field in all.get(model).into_iter().flatten() {
            field.leave_out(request);
        }
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
        }
    }

    fn is_named(self, words: &str) -> bool {
        match self {
            Self::StreamOptions => words.contains("stream_options") || words.contains("include_usage"),
            Self::ReasoningEffort => {
                words.contains("reasoning_effort")
                    || (words.contains("reasoning") && words.contains("not support"))
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
            Self::StreamOptions | Self::Temperature | Self::ReasoningEffort | Self::ParallelToolCalls => {
                request.remove(self.name());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
}
