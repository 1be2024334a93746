//! A reply, and its encoding as a provider would send it: streams in small chunks, tool calls with their arguments in
//! pieces.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::conversation::Call;
use crate::DEMO_MODEL;
use crate::model::answer::AnswerBytes;

/// Characters of text in one chunk.
const TEXT_CHARS: usize = 12;

/// Characters of a tool call's arguments in one chunk.
const ARGUMENTS_CHARS: usize = 96;

/// A text, or the next tool call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Text(String),
    Call { before: String, id: String, call: Call },
}

/// Tokens of a request and its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) completion: u64,
}

impl Reply {
    /// The reply as server-sent events.
    pub(super) fn into_stream(self, usage: Usage, pace: Duration) -> AnswerBytes {
        let (deltas, reason) = deltas(self);
        let mut chunks: Vec<Value> = deltas.into_iter().map(|delta| chunk(&delta, &Value::Null)).collect();
        chunks.push(chunk(&json!({}), &reason.into()));
        let mut last = chunk(&Value::Null, &Value::Null);
        last["choices"] = json!([]);
        last["usage"] = usage.to_json();
        chunks.push(last);
        let mut frames: Vec<String> = chunks.into_iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        frames.push("data: [DONE]\n\n".to_owned());
        stream::iter(frames)
            .then(move |frame| async move {
                if !pace.is_zero() {
                    tokio::time::sleep(pace).await;
                }
                Ok(Bytes::from(frame))
            })
            .boxed()
    }

    /// The reply as one JSON object.
    pub(super) fn into_json(self, usage: Usage) -> AnswerBytes {
        let reason = finish_reason(&self);
        let message = match self {
            Self::Text(text) => json!({"role": "assistant", "content": text}),
            Self::Call { before, id, call } => json!({"role": "assistant", "content": before, "tool_calls": [
                {"id": id, "type": "function", "function": {"name": call.tool, "arguments": call.arguments().to_string()}},
            ]}),
        };
        let body = json!({
            "id": "chatcmpl-mgx-demo", "object": "chat.completion", "created": 0, "model": DEMO_MODEL,
            "system_fingerprint": DEMO_MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": usage.to_json(),
        });
        stream::iter([Ok(Bytes::from(body.to_string()))]).boxed()
    }

    /// Tokens by rule of thumb: a quarter of the characters.
    pub(super) fn estimated_tokens(&self) -> u64 {
        let chars = match self {
            Self::Text(text) => text.chars().count(),
            Self::Call { before, call, .. } => {
                before.chars().count() + call.arguments().to_string().chars().count()
            }
        };
        chars.div_ceil(4) as u64
    }
}

fn deltas(reply: Reply) -> (Vec<Value>, &'static str) {
    let reason = finish_reason(&reply);
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    let contents =
        |text: &str| pieces(text, TEXT_CHARS).map(|piece| json!({"content": piece})).collect::<Vec<_>>();
    match reply {
        Reply::Text(text) => deltas.extend(contents(&text)),
        Reply::Call { before, id, call } => {
            deltas.extend(contents(&before));
            let function = json!({"name": call.tool, "arguments": ""});
            deltas.push(json!({"tool_calls": [
                {"index": 0, "id": id, "type": "function", "function": function},
            ]}));
            deltas.extend(
                pieces(&call.arguments().to_string(), ARGUMENTS_CHARS)
                    .map(|piece| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})),
            );
        }
    }
    (deltas, reason)
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply {
        Reply::Text(_) => "stop",
        Reply::Call { .. } => "tool_calls",
    }
}

fn chunk(delta: &Value, finish_reason: &Value) -> Value {
    json!({
        "id": "chatcmpl-mgx-demo", "object": "chat.completion.chunk", "created": 0, "model": DEMO_MODEL,
        "system_fingerprint": DEMO_MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    })
}

fn pieces(text: &str, size: usize) -> impl Iterator<Item = String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(size).map(|piece| piece.iter().collect()).collect::<Vec<String>>().into_iter()
}

impl Usage {
    fn to_json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        })
    }
}
