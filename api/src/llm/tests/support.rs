//! A provider, attempts and sessions that tests control.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use mgx_apps::{Framework, Session, SessionStore, StoreError, Usage};
use mgx_protocol::{Attempt, JobId, SessionId};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use uuid::Uuid;

use super::super::*;

pub(super) fn limits(max_requests: u64, max_tokens: u64, requests_per_minute: u32) -> LlmLimits {
    LlmLimits { max_requests, max_tokens, requests_per_minute, max_cost_micros: 0 }
}

/// One answer of the provider.
#[derive(Clone, Debug)]
pub(super) struct Says {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<String>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Proper,
    Cut,
    Never,
}

impl Says {
    pub(super) fn status(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), pieces: vec![body.to_owned()], end: End::Proper }
            .header("content-type", "application/json")
            .header("x-provider-internal", "1")
    }

    pub(super) fn json(body: &str) -> Self {
        Self::status(200, body)
    }

    pub(super) fn stream(pieces: &[&str]) -> Self {
        let pieces = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        Self { status: 200, headers: Vec::new(), pieces, end: End::Proper }
            .header("content-type", "text/event-stream")
    }

    /// Ends in the middle of the chunked body.
    pub(super) fn cut(pieces: &[&str]) -> Self {
        Self { end: End::Cut, ..Self::stream(pieces) }
    }

    /// Says this, and then nothing more.
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
            End::Proper => Body::from_stream(pieces),
            End::Cut => Body::from_stream(pieces.chain(stream::once(async {
                // Lets what was said leave first: hyper throws away what it has buffered when a body fails.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut"))
            }))),
            End::Never => Body::from_stream(pieces.chain(stream::pending())),
        };
        response.body(body).unwrap()
    }
}

/// A provider that says what it was told to, in order.
#[derive(Debug)]
pub(super) struct Provider {
    script: Arc<Script>,
    task: JoinHandle<()>,
    url: String,
}

#[derive(Debug, Default)]
struct Script {
    says: Mutex<VecDeque<Says>>,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
}

impl Provider {
    async fn start(says: Vec<Says>) -> Self {
        let script = Arc::new(Script { says: Mutex::new(says.into()), ..Script::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/chat/completions", post(say)).with_state(script.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { script, task, url }
    }

    /// Every request so far.
    pub(super) fn seen(&self) -> Vec<(HeaderMap, Value)> {
        self.script.seen.lock().unwrap().clone()
    }

    /// Stops listening.
    pub(super) async fn leave(&mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }
}

async fn say(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    script.seen.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
    let says = script.says.lock().unwrap().pop_front();
    says.unwrap_or_else(|| Says::status(418, "asked once too often")).response()
}

/// One attempt whose token is `good`.
#[derive(Debug)]
pub(super) struct OneAttempt {
    live: Mutex<bool>,
    events: Mutex<Vec<Value>>,
    recorded: Notify,
}

const JOB: JobId = JobId(Uuid::from_u128(1));

impl OneAttempt {
    pub(super) fn live(&self, live: bool) {
        *self.live.lock().unwrap() = live;
    }
}

#[async_trait]
impl Attempts for OneAttempt {
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        (token == "good").then_some((JOB, Attempt(1)))
    }

    fn is_live(&self, job: JobId, attempt: Attempt) -> bool {
        (job, attempt) == (JOB, Attempt(1)) && *self.live.lock().unwrap()
    }

    async fn session(&self, job: JobId) -> Result<Option<SessionId>, String> {
        Ok((job == JOB).then(|| "s".parse().unwrap()))
    }

    async fn record(&self, _: JobId, _: Attempt, kind: &str, data: Map<String, Value>) -> Result<(), String> {
        assert_eq!(kind, "llm_usage");
        self.events.lock().unwrap().push(data.into());
        self.recorded.notify_one();
        Ok(())
    }
}

/// One session.
#[derive(Debug, Default)]
struct OneSession(Mutex<Usage>);

#[async_trait]
impl SessionStore for OneSession {
    async fn insert(&self, _: &Session) -> Result<(), StoreError> {
        Err(StoreError::Full)
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(Some(Session {
            id: id.clone(),
            name: String::new(),
            framework: Framework::Nextjs,
            workspace: "w".parse().unwrap(),
            user: "u".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            usage: *self.0.lock().unwrap(),
        }))
    }

    async fn sessions(
        &self,
        _: Option<&str>,
        _: Option<&SessionId>,
        _: usize,
    ) -> Result<Vec<Session>, StoreError> {
        Ok(Vec::new())
    }

    async fn delete(&self, _: &SessionId) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn add_usage(&self, _: &SessionId, used: Usage) -> Result<Usage, StoreError> {
        let mut sum = self.0.lock().unwrap();
        sum.requests += used.requests;
        sum.prompt_tokens += used.prompt_tokens;
        sum.completion_tokens += used.completion_tokens;
        sum.cost_micros += used.cost_micros;
        Ok(*sum)
    }
}

/// The proxy with everything around it.
#[derive(Debug)]
pub(super) struct House {
    pub(super) proxy: LlmProxy,
    pub(super) attempts: Arc<OneAttempt>,
    pub(super) provider: Provider,
    session: Arc<OneSession>,
}

impl House {
    /// With a provider that says this.
    pub(super) async fn with(says: Vec<Says>) -> Self {
        Self::limited(says, LlmLimits::default()).await
    }

    pub(super) async fn limited(says: Vec<Says>, limits: LlmLimits) -> Self {
        let provider = Provider::start(says).await;
        let key = Some("sk-real-key".to_owned().into());
        let config = ProviderConfig::of(Some(provider.url.clone()), key);
        Self::new(config, limits, provider)
    }

    /// Without a provider.
    pub(super) fn demo() -> Self {
        let nobody = Provider { script: Arc::default(), task: tokio::spawn(async {}), url: String::new() };
        Self::new(None, LlmLimits::default(), nobody)
    }

    fn new(config: Option<ProviderConfig>, limits: LlmLimits, provider: Provider) -> Self {
        let config = LlmConfig {
            provider: config,
            default_model: "gpt-test".to_owned(),
            models: vec!["gpt-allowed".to_owned()],
            limits,
            prices: [("gpt-allowed".to_owned(), Price { input_micros: 2_000_000, output_micros: 8_000_000 })]
                .into(),
            retry: RetryConfig {
                first_pause: Duration::from_millis(1),
                longest_pause: Duration::from_millis(20),
                first_byte: Duration::from_millis(500),
                ..RetryConfig::default()
            },
            demo_pace: Duration::ZERO,
        };
        let attempts = Arc::new(OneAttempt {
            live: Mutex::new(true),
            events: Mutex::default(),
            recorded: Notify::new(),
        });
        let session = Arc::new(OneSession::default());
        let proxy = LlmProxy::new(config, attempts.clone(), session.clone()).unwrap();
        Self { proxy, attempts, provider, session }
    }

    pub(super) fn request() -> http::request::Builder {
        Request::post("/v1/chat/completions").header("authorization", "Bearer good")
    }

    pub(super) async fn send(&self, body: &Value) -> Response {
        let request = Self::request().body(Body::from(body.to_string())).unwrap();
        self.proxy.router().oneshot(request).await.unwrap()
    }

    /// What was written to the log.
    pub(super) fn events(&self) -> Vec<Value> {
        self.attempts.events.lock().unwrap().clone()
    }

    pub(super) async fn next_event(&self) -> Value {
        self.attempts.recorded.notified().await;
        self.events().pop().unwrap()
    }

    /// Requests, tokens sent and tokens received, of the session.
    pub(super) fn used(&self) -> (u64, u64, u64) {
        let used = *self.session.0.lock().unwrap();
        (used.requests, used.prompt_tokens, used.completion_tokens)
    }
}

/// The body of a response, if it comes to its end.
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
