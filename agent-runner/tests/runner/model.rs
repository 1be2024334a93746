//! A model service for tests: answers each request with the next reply of a script, byte for byte.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// One scripted reply.
#[derive(Clone, Debug)]
pub(crate) enum Scripted {
    /// A whole stream, in pieces of a few bytes.
    Stream(Vec<Value>),
    /// A stream that breaks after its last chunk.
    Cut(Vec<Value>),
    /// A refusal, with a header and a body.
    Refusal(u16, &'static str, Value),
}

/// What arrived with one request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) agent: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

/// The service.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) address: SocketAddr,
    script: Script,
    _serving: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct Script {
    replies: Arc<Mutex<VecDeque<Scripted>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Model {
    /// Serves `replies`, first to last.
    pub(crate) async fn serve(replies: Vec<Scripted>) -> Self {
        let script = Script { replies: Arc::new(Mutex::new(replies.into())), asked: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, script, _serving: serving }
    }

    /// Everything that was asked; every reply must have been used.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        assert!(self.script.replies.lock().unwrap().is_empty(), "the script has been played to its end");
        self.script.asked.lock().unwrap().clone()
    }
}

async fn answer(State(script): State<Script>, headers: HeaderMap, body: String) -> Response<Body> {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    script.asked.lock().unwrap().push(Asked {
        agent: header("x-mgx-agent"),
        authorization: header("authorization"),
        body: serde_json::from_str(&body).unwrap(),
    });
    let reply = script.replies.lock().unwrap().pop_front().expect("the script goes on");
    let (chunks, whole) = match reply {
        Scripted::Refusal(status, retry_after, body) => {
            return Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .header("retry-after", retry_after)
                .body(Body::from(body.to_string()))
                .unwrap();
        }
        Scripted::Stream(chunks) => (chunks, true),
        Scripted::Cut(chunks) => (chunks, false),
    };
    let last = whole.then(|| "[DONE]".to_owned());
    let data = chunks.iter().map(Value::to_string).chain(last);
    let events: Vec<_> = data.map(|data| format!(": keep-alive\n\ndata: {data}\n\n")).collect();
    let bytes = events.concat().into_bytes();
    let pieces: Vec<_> = bytes.chunks(7).map(|piece| Ok(piece.to_vec())).collect();
    let cut = stream::once(async {
        // a body that has to wait is flushed first, so the pieces are on their way
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    });
    let body = if whole {
        Body::from_stream(stream::iter(pieces))
    } else {
        Body::from_stream(stream::iter(pieces).chain(cut))
    };
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

/// A chunk with text.
pub(crate) fn text(text: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] })
}

/// A chunk with a fragment of a tool call.
pub(crate) fn fragment(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    let function = json!({ "name": name, "arguments": arguments });
    let call = json!({ "index": index, "id": id, "type": "function", "function": function });
    json!({ "choices": [{ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null }] })
}

/// The chunks that end a reply.
pub(crate) fn end(reason: &str) -> [Value; 2] {
    [
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] }),
        json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 5 } }),
    ]
}
