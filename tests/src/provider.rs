//! An OpenAI-compatible provider that behaves as badly as real ones do: it streams tool calls in fragments, is
//! too busy once, and cuts a stream once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A provider on a port of its own; it goes away with the runtime of the test.
#[derive(Debug)]
pub struct Provider {
    /// Its base URL, for `OPENAI_BASE_URL`.
    pub url: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<(HeaderMap, Value)>,
    busy: bool,
    cut: bool,
}

impl Provider {
    /// Starts it.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> Result<Self> {
        let seen = Arc::<Mutex<Seen>>::default();
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(seen.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, seen })
    }

    /// Every request so far: its headers and its body.
    #[must_use]
    pub fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.seen.lock().expect("nothing panics while it holds this lock").requests.clone()
    }
}

/// The first request is refused with 429, the first answer with a tool call is cut in the middle. Every agent
/// writes one file of its own, then says that it is done.
async fn complete(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    // slow enough to look at the container that waits for the answer
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut seen = seen.lock().expect("nothing panics while it holds this lock");
    seen.requests.push((headers, body.clone()));
    if !std::mem::replace(&mut seen.busy, true) {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")], "busy").into_response();
    }
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let has_tool = body["tools"]
        .as_array()
        .is_some_and(|tools| tools.iter().any(|t| t["function"]["name"] == "write_file"));
    let worked = messages.iter().any(|message| message["role"] == "tool");
    if has_tool && !worked {
        let number = seen.requests.len();
        let cut = !std::mem::replace(&mut seen.cut, true);
        return stream_of(tool_call(number), cut);
    }
    stream_of(text(), false)
}

/// A call of `write_file`, its arguments in pieces that split a word and an escape.
fn tool_call(number: usize) -> Vec<Value> {
    let arguments =
        json!({ "path": format!("notes/{number}.md"), "content": "Fresh bread,\n\"daily\" 🥐\n" })
            .to_string();
    let mut chunks = vec![delta(&json!({ "role": "assistant", "content": null, "tool_calls": [
        { "index": 0, "id": format!("call_{number}"), "type": "function", "function": { "name": "write_file", "arguments": "" } }
    ] }))];
    let letters: Vec<char> = arguments.chars().collect();
    for piece in letters.chunks(7) {
        let piece: String = piece.iter().collect();
        chunks.push(delta(&json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] })));
    }
    chunks.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }));
    chunks.push(json!({ "choices": [], "usage": { "prompt_tokens": 11, "completion_tokens": 7 } }));
    chunks
}

fn text() -> Vec<Value> {
    let mut chunks: Vec<Value> =
        ["All ", "done", "."].iter().map(|piece| delta(&json!({ "content": piece }))).collect();
    chunks.push(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }));
    chunks.push(json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 3 } }));
    chunks
}

fn delta(delta: &Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta }] })
}

fn stream_of(chunks: Vec<Value>, cut: bool) -> Response {
    let half = chunks.len() / 2;
    let mut frames: Vec<Result<Bytes, std::io::Error>> = chunks
        .into_iter()
        .take(if cut { half } else { usize::MAX })
        .map(|chunk| Ok(Bytes::from(format!("data: {chunk}\n\n"))))
        .collect();
    frames.push(if cut {
        Err(std::io::Error::other("cut"))
    } else {
        Ok(Bytes::from_static(b"data: [DONE]\n\n"))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(stream::iter(frames))).into_response()
}
