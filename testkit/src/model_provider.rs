//! A fake OpenAI-compatible model provider with the faults of real ones: tool calls in fragments, one answer 429, one
//! stream that is cut.

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

/// A provider on a port of its own, which ends with the test's tokio runtime.
#[derive(Debug)]
pub struct ModelProvider {
    /// Its base URL, for `OPENAI_BASE_URL`.
    pub url: String,
    state: Arc<Mutex<ProviderState>>,
}

#[derive(Debug, Default)]
struct ProviderState {
    requests: Vec<(HeaderMap, Value)>,
    has_refused: bool,
    has_cut: bool,
}

impl ModelProvider {
    /// Starts the provider.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> Result<Self> {
        let state = Arc::<Mutex<ProviderState>>::default();
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, state })
    }

    /// The headers and the body of every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.state.lock().expect("nothing panics while it holds this lock").requests.clone()
    }
}

/// The first request is refused with 429, the first answer with a tool call is cut in the middle. Every agent
/// writes one file of its own, then says that it is done.
async fn complete(
    State(state): State<Arc<Mutex<ProviderState>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    // slow enough to look at the container that waits for the answer
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut state = state.lock().expect("nothing panics while it holds this lock");
    state.requests.push((headers, body.clone()));
    if !std::mem::replace(&mut state.has_refused, true) {
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")], "busy").into_response();
    }
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let has_tool = body["tools"]
        .as_array()
        .is_some_and(|tools| tools.iter().any(|t| t["function"]["name"] == "write_file"));
    let worked = messages.iter().any(|message| message["role"] == "tool");
    if has_tool && !worked {
        let number = state.requests.len();
        let cut = !std::mem::replace(&mut state.has_cut, true);
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
