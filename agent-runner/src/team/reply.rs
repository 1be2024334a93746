//! Assembles a model's reply from the chunks of its stream.
//!
//! OpenAI-compatible services leave out, repeat or misplace almost every field, so each one is optional here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest content, and the longest arguments of one tool call, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// How many tools one reply may call.
const MAX_CALLS: usize = 64;

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reply {
    pub(crate) content: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) usage: Usage,
}

/// A tool that the model wants to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ToolCall {
    /// Identifies the call in the conversation.
    pub(crate) id: String,
    /// The tool.
    pub(crate) name: String,
    /// Its arguments: JSON, unless the model made a mistake.
    pub(crate) arguments: String,
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

/// What is wrong with a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadChunk {
    /// It is not JSON, or not a chunk.
    Unreadable(String),
    /// The service reports an error in mid-stream.
    Error(String),
    /// The reply is longer than the limits.
    TooLarge,
}

/// A reply of which some chunks have arrived.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    content: String,
    calls: Vec<(Option<i64>, ToolCall)>,
    usage: Usage,
    complete: bool,
}

impl Assembly {
    /// Adds the data of one event; the text that it adds to the content.
    pub(crate) fn push(&mut self, data: &str) -> Result<String, BadChunk> {
        if data.trim() == "[DONE]" {
            self.complete = true;
            return Ok(String::new());
        }
        let chunk: Chunk =
            serde_json::from_str(data).map_err(|error| BadChunk::Unreadable(error.to_string()))?;
        if let Some(error) = chunk.error {
            return Err(BadChunk::Error(message(&error)));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage {
                prompt_tokens: usage.prompt_tokens.unwrap_or(0),
                completion_tokens: usage.completion_tokens.unwrap_or(0),
            };
        }
        let Some(choice) = chunk.choices.unwrap_or_default().into_iter().next() else {
            return Ok(String::new());
        };
        self.complete |= choice.finish_reason.is_some_and(|reason| !reason.is_empty());
        let delta = choice.delta.unwrap_or_default();
        for fragment in delta.tool_calls.unwrap_or_default() {
            self.add(fragment)?;
        }
        let text = delta.content.unwrap_or_default();
        if self.content.len() + text.len() > MAX_TEXT_BYTES {
            return Err(BadChunk::TooLarge);
        }
        self.content.push_str(&text);
        Ok(text)
    }

    /// The reply; `None` if the stream ended before it was complete.
    pub(crate) fn finish(self) -> Option<Reply> {
        let numbered = self.calls.into_iter().enumerate();
        let calls = numbered.map(|(number, (_, call))| {
            let id = if call.id.is_empty() { format!("call_{number}") } else { call.id };
            ToolCall { id, ..call }
        });
        self.complete.then(|| Reply { content: self.content, calls: calls.collect(), usage: self.usage })
    }

    fn add(&mut self, fragment: Fragment) -> Result<(), BadChunk> {
        let id = fragment.id.unwrap_or_default();
        let position = self.calls.iter().rposition(|(index, call)| {
            // a new id begins a new call, whatever its index
            (id.is_empty() || call.id.is_empty() || call.id == id)
                && (fragment.index.is_none() || *index == fragment.index)
        });
        let position = match position {
            Some(position)
                if fragment.index.is_some() || id.is_empty() || self.calls[position].1.id == id =>
            {
                position
            }
            _ if self.calls.len() == MAX_CALLS => return Err(BadChunk::TooLarge),
            _ => {
                self.calls.push((fragment.index, ToolCall::default()));
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[position].1;
        if call.id.is_empty() {
            call.id = id;
        }
        let function = fragment.function.unwrap_or_default();
        if call.name.is_empty() {
            call.name = function.name.unwrap_or_default();
        }
        match function.arguments {
            Some(Value::String(text)) => call.arguments.push_str(&text),
            Some(Value::Null) | None => {}
            Some(whole) => call.arguments = whole.to_string(),
        }
        if call.arguments.len() > MAX_TEXT_BYTES { Err(BadChunk::TooLarge) } else { Ok(()) }
    }
}

/// The text of an `error` value: its `message` if it has one, otherwise the value itself.
pub(crate) fn message(error: &Value) -> String {
    let text = error.get("message").unwrap_or(error);
    text.as_str().map_or_else(|| text.to_string(), Into::into)
}

#[derive(Debug, Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    content: Option<String>,
    tool_calls: Option<Vec<Fragment>>,
}

#[derive(Debug, Deserialize)]
struct Fragment {
    index: Option<i64>,
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(chunks: &[&str]) -> Result<Option<Reply>, BadChunk> {
        let mut assembly = Assembly::default();
        for chunk in chunks {
            assembly.push(chunk)?;
        }
        Ok(assembly.finish())
    }

    fn calls(fragments: &[&str]) -> Vec<(String, String, String)> {
        let chunks: Vec<_> = fragments
            .iter()
            .map(|fragment| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{fragment}]}}}}]}}"#))
            .chain(["[DONE]".to_owned()])
            .collect();
        let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
        let reply = assembled(&chunks).unwrap().unwrap();
        reply.calls.into_iter().map(|call| (call.id, call.name, call.arguments)).collect()
    }

    fn expected(calls: &[[&str; 3]]) -> Vec<(String, String, String)> {
        calls.iter().map(|[id, name, args]| ((*id).into(), (*name).into(), (*args).into())).collect()
    }

    #[test]
    fn every_dialect_of_the_stream_is_understood() {
        for chunks in [
            &[
                r#"{"choices":[{"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}"#,
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
                "[DONE]",
            ][..],
            &[
                r#"{"created":1.5,"choices":[{"delta":{"content":"H","reasoning_content":"…"},"finish_reason":""}]}"#,
                r#"{"choices":[{"delta":{"content":"i"},"finish_reason":"odd"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            ],
            &[
                r#"{"choices":null,"usage":null}"#,
                r#"{"choices":[{"delta":{"content":"Hi","tool_calls":null}}]}"#,
                r#"{"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
                " [DONE] ",
            ],
        ] {
            let usage = Usage { prompt_tokens: 3, completion_tokens: 2 };
            let reply = Reply { content: "Hi".into(), calls: Vec::new(), usage };
            assert_eq!(assembled(chunks), Ok(Some(reply)), "{chunks:?}");
        }
    }

    #[test]
    fn a_stream_that_was_cut_is_no_reply() {
        assert_eq!(assembled(&[r#"{"choices":[{"delta":{"content":"Hi"},"finish_reason":""}]}"#]), Ok(None));
        assert_eq!(assembled(&[]), Ok(None));
    }

    #[test]
    fn errors_in_mid_stream_are_told_from_chunks() {
        let error = |text: &str| Err(BadChunk::Error(text.to_owned()));
        assert_eq!(assembled(&[r#"{"error":{"message":"overloaded","code":529}}"#]), error("overloaded"));
        assert_eq!(assembled(&[r#"{"error":"no"}"#]), error("no"));
        assert!(matches!(assembled(&["{"]), Err(BadChunk::Unreadable(_))));
    }

    #[test]
    fn tool_calls_are_put_together_from_fragments() {
        // as OpenAI sends them: id and name first, then pieces of the arguments, by index
        let fragments = [
            r#"{"index":0,"id":"a","type":"function","function":{"name":"read_file","arguments":""}}"#,
            r#"{"index":1,"id":"b","function":{"name":"list_files","arguments":"{}"}}"#,
            r#"{"index":0,"function":{"arguments":"{\"path\":"}}"#,
            r#"{"index":0,"id":"a","function":{"name":"read_file","arguments":"\"x\"}"}}"#,
        ];
        let two = expected(&[["a", "read_file", r#"{"path":"x"}"#], ["b", "list_files", "{}"]]);
        assert_eq!(calls(&fragments), two);
        // no index: an id begins a call
        let fragments = [
            r#"{"id":"a","function":{"name":"read_file","arguments":"{\"path\":"}}"#,
            r#"{"function":{"arguments":"\"x\"}"}}"#,
            r#"{"id":"b","function":{"name":"list_files","arguments":{}}}"#,
        ];
        assert_eq!(calls(&fragments), two);
        // every call at index 0
        let fragments = [
            r#"{"index":0,"id":"a","function":{"name":"read_file","arguments":"{\"path\":\"x\"}"}}"#,
            r#"{"index":0,"id":"b","function":{"name":"list_files","arguments":"{}"}}"#,
        ];
        assert_eq!(calls(&fragments), two);
        // no id at all
        let one = expected(&[["call_0", "list_files", "{}"]]);
        assert_eq!(calls(&[r#"{"index":0,"function":{"name":"list_files","arguments":"{}"}}"#]), one);
    }

    #[test]
    fn a_reply_has_bounds() {
        let mut assembly = Assembly::default();
        let chunk = format!(r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#, "x".repeat(MAX_TEXT_BYTES));
        assembly.push(&chunk).unwrap();
        assert_eq!(assembly.push(&chunk), Err(BadChunk::TooLarge));
        let mut assembly = Assembly::default();
        let call = |id| format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{"id":"{id}"}}]}}}}]}}"#);
        assert!((0..MAX_CALLS).all(|id| assembly.push(&call(id)).is_ok()));
        assert_eq!(assembly.push(&call(MAX_CALLS)), Err(BadChunk::TooLarge));
    }
}
