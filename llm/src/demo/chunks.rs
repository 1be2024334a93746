//! Writes a reply the way providers do: in small chunks, tool calls cut in the middle of their arguments.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::Reply;
use crate::DEMO_MODEL;
use crate::answer::AnswerBytes;

/// Characters of text in one chunk.
const TEXT_PIECE: usize = 12;

/// Characters of a tool call's arguments in one chunk.
const ARGUMENTS_PIECE: usize = 96;

/// What the reply used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    pub(super) completion: u64,
}

/// The reply as server-sent events.
pub(super) fn stream(reply: Reply, usage: Usage, pace: Duration) -> AnswerBytes {
    let (deltas, reason) = deltas(reply);
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

/// The reply in one piece.
pub(super) fn whole(reply: Reply, usage: Usage) -> AnswerBytes {
    let reason = reason(&reply);
    let message = match reply {
        Reply::Text(text) => json!({"role": "assistant", "content": text}),
        Reply::Call { before, id, call } => json!({"role": "assistant", "content": before, "tool_calls": [
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

fn deltas(reply: Reply) -> (Vec<Value>, &'static str) {
    let reason = reason(&reply);
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    let say =
        |text: &str| pieces(text, TEXT_PIECE).map(|piece| json!({"content": piece})).collect::<Vec<_>>();
    match reply {
        Reply::Text(text) => deltas.extend(say(&text)),
        Reply::Call { before, id, call } => {
            deltas.extend(say(&before));
            let function = json!({"name": call.tool, "arguments": ""});
            deltas.push(json!({"tool_calls": [
                {"index": 0, "id": id, "type": "function", "function": function},
            ]}));
            deltas.extend(
                pieces(&call.arguments().to_string(), ARGUMENTS_PIECE)
                    .map(|piece| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})),
            );
        }
    }
    (deltas, reason)
}

fn reason(reply: &Reply) -> &'static str {
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
