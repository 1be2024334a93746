//! A provider, attempts and usage that tests control.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use axum::routing::post;
use axum::{BoxError, Router};
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use mgx_protocol::{Attempt, EventKind, JobId, SessionId};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use uuid::Uuid;

use crate::*;

pub(super) fn limits(max_requests: u64, max_tokens: u64, requests_per_minute: u32) -> LlmLimits {
    let session = UsageLimits { max_requests, max_tokens, max_cost_micros: 0 };
    LlmLimits { session, requests_per_minute, ..LlmLimits::default() }
}

/// One answer of the provider.
#[derive(Clone, Debug)]
pub(super) struct ScriptedAnswer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<String>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Complete,
    Cut,
    Never,
}

impl ScriptedAnswer {
    pub(super) fn status(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), pieces: vec![body.to_owned()], end: End::Complete }
            .header("content-type", "application/json")
            .header("x-provider-internal", "1")
    }

    pub(super) fn json(body: &str) -> Self {
        Self::status(200, body)
    }

    pub(super) fn stream(pieces: &[&str]) -> Self {
        let pieces = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        Self { status: 200, headers: Vec::new(), pieces, end: End::Complete }
            .header("content-type", "text/event-stream")
    }

    /// Closes the connection in the middle of the chunked body.
    pub(super) fn cut(pieces: &[&str]) -> Self {
        Self { end: End::Cut, ..Self::stream(pieces) }
    }

    /// Sends these pieces, then nothing, and leaves the connection open.
    pub(super) fn silent(pieces: &[&str]) -> Self {
        Self { end: End::Never, ..Self::stream(pieces) }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.headers {
            response = response.header(*name, value);
        }
        let pieces = stream::iter(self.pieces.into_iter().map(Ok));
        let body = match self.end {
            End::Complete => Body::from_stream(pieces),
            End::Cut => Body::from_stream(pieces.chain(stream::once(async {
                // the pieces leave first: hyper drops what it has buffered when a body fails
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut"))
            }))),
            End::Never => Body::from_stream(pieces.chain(stream::pending())),
        };
        response.body(body).unwrap()
    }
}

/// A provider that gives scripted answers, in order.
#[derive(Debug)]
pub(super) struct FakeProvider {
    script: Arc<Script>,
    task: JoinHandle<()>,
    url: String,
}

#[derive(Debug, Default)]
struct Script {
    answers: Mutex<VecDeque<ScriptedAnswer>>,
    requests: Mutex<Vec<(HeaderMap, Value)>>,
    connections: Mutex<HashSet<SocketAddr>>,
}

impl FakeProvider {
    async fn start(answers: Vec<ScriptedAnswer>) -> Self {
        let script = Arc::new(Script { answers: Mutex::new(answers.into()), ..Script::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { script, task, url }
    }

    /// The headers and the body of every request so far.
    pub(super) fn requests(&self) -> Vec<(HeaderMap, Value)> {
        self.script.requests.lock().unwrap().clone()
    }

    /// How many connections the requests came over.
    pub(super) fn connections(&self) -> usize {
        self.script.connections.lock().unwrap().len()
    }

    /// Its host and port.
    pub(super) fn authority(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches("/v1/")
    }

    /// Stops listening.
    pub(super) async fn stop(&mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    script.connections.lock().unwrap().insert(peer);
    script.requests.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    let answer = script.answers.lock().unwrap().pop_front();
    answer.unwrap_or_else(|| ScriptedAnswer::status(418, "no answer is left")).response()
}

/// Attempts of which one exists, with the token `good`.
#[derive(Debug)]
pub(super) struct FakeAttempts {
    is_live: Mutex<bool>,
    events: Mutex<Vec<Value>>,
    recorded: Notify,
}

const JOB: JobId = JobId(Uuid::from_u128(1));

impl FakeAttempts {
    pub(super) fn set_live(&self, is_live: bool) {
        *self.is_live.lock().unwrap() = is_live;
    }
}

#[async_trait]
impl Attempts for FakeAttempts {
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        (token == "good").then_some((JOB, Attempt(1)))
    }

    fn is_live(&self, job: JobId, attempt: Attempt) -> bool {
        (job, attempt) == (JOB, Attempt(1)) && *self.is_live.lock().unwrap()
    }

    async fn owner(&self, job: JobId) -> Result<Option<JobOwner>, BoxError> {
        Ok((job == JOB).then(|| JobOwner { session: "s".parse().unwrap(), user: "ann".to_owned() }))
    }

    async fn record(
        &self,
        _: JobId,
        _: Attempt,
        kind: EventKind,
        data: Map<String, Value>,
    ) -> Result<(), BoxError> {
        assert_eq!(kind.as_str(), "llm_usage");
        self.events.lock().unwrap().push(data.into());
        self.recorded.notify_one();
        Ok(())
    }
}

/// The usage of one session, in memory.
#[derive(Debug, Default)]
struct FakeUsage(Mutex<Usage>);

#[async_trait]
impl UsageStore for FakeUsage {
    async fn usage(&self, _: &SessionId) -> Result<Option<Usage>, BoxError> {
        Ok(Some(*self.0.lock().unwrap()))
    }

    async fn add_usage(&self, _: &SessionId, used: Usage) -> Result<Usage, BoxError> {
        let mut sum = self.0.lock().unwrap();
        sum.requests += used.requests;
        sum.prompt_tokens += used.prompt_tokens;
        sum.completion_tokens += used.completion_tokens;
        sum.cost_micros += used.cost_micros;
        Ok(*sum)
    }
}

/// A proxy, and the fakes around it.
#[derive(Debug)]
pub(super) struct TestProxy {
    pub(super) llm: LlmProxy,
    pub(super) attempts: Arc<FakeAttempts>,
    pub(super) provider: FakeProvider,
    usage: Arc<FakeUsage>,
}

impl TestProxy {
    /// With a provider that gives these answers, in order.
    pub(super) async fn with(answers: Vec<ScriptedAnswer>) -> Self {
        Self::limited(answers, LlmLimits::default()).await
    }

    pub(super) async fn limited(answers: Vec<ScriptedAnswer>, limits: LlmLimits) -> Self {
        let provider = FakeProvider::start(answers).await;
        let key = Some("sk-real-key".to_owned().into());
        let config = ProviderConfig::of(Some(provider.url.clone()), key);
        Self::new(config, limits, provider)
    }

    /// Without a provider.
    pub(super) fn demo() -> Self {
        let absent =
            FakeProvider { script: Arc::default(), task: tokio::spawn(async {}), url: String::new() };
        Self::new(None, LlmLimits::default(), absent)
    }

    fn new(config: Option<ProviderConfig>, limits: LlmLimits, provider: FakeProvider) -> Self {
        let config = LlmConfig {
            provider: config,
            default_model: "gpt-test".to_owned(),
            models: vec!["gpt-allowed".to_owned()],
            limits,
            prices: [(
                "gpt-allowed".to_owned(),
                Price { input_micros: 2_000_000, output_micros: 8_000_000, ..Price::default() },
            )]
            .into(),
            providers: [].into(),
            timeouts: Timeouts { first_byte: Duration::from_millis(500), ..Timeouts::default() },
            demo_pace: Duration::ZERO,
        };
        let attempts = Arc::new(FakeAttempts {
            is_live: Mutex::new(true),
            events: Mutex::default(),
            recorded: Notify::new(),
        });
        let usage = Arc::new(FakeUsage::default());
        let llm = LlmProxy::new(config, attempts.clone(), usage.clone()).unwrap();
        Self { llm, attempts, provider, usage }
    }

    pub(super) fn request() -> http::request::Builder {
        Request::post("/v1/chat/completions").header("authorization", "Bearer good")
    }

    pub(super) async fn send(&self, body: &Value) -> Response {
        let request = Self::request().body(Body::from(body.to_string())).unwrap();
        self.llm.router().oneshot(request).await.unwrap()
    }

    /// The data of the events in the log.
    pub(super) fn events(&self) -> Vec<Value> {
        self.attempts.events.lock().unwrap().clone()
    }

    pub(super) async fn next_event(&self) -> Value {
        self.attempts.recorded.notified().await;
        self.events().pop().unwrap()
    }

    /// Requests, tokens sent and tokens received, of the session.
    pub(super) fn used(&self) -> (u64, u64, u64) {
        let used = *self.usage.0.lock().unwrap();
        (used.requests, used.prompt_tokens, used.completion_tokens)
    }
}

/// The body of a response, if it is complete.
pub(super) async fn text(response: Response) -> Result<String, axum::Error> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// The error in a response.
pub(super) async fn error(response: Response) -> Value {
    let status = response.status();
    assert!(status != StatusCode::OK);
    let body: Value = serde_json::from_str(&text(response).await.unwrap()).unwrap();
    body["error"].clone()
}
