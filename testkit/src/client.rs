//! A client of the public API for tests, independent of `mgx-client` and with an SSE reader of its own, so that neither is
//! tested by itself.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

/// How long a request, or reading an event stream, may take before a test fails.
pub const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// Sends requests to one server as one user.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// One SSE frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// `id:`.
    pub id: u64,
    /// `event:`.
    pub event: String,
    /// `data:`, parsed.
    pub data: Value,
}

impl Client {
    /// A client of the server at `url`.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        Self { http: http(), url: url.to_owned(), token: token.to_owned() }
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .timeout(REQUEST_TIMEOUT)
    }

    /// GETs `path`; status and JSON body.
    ///
    /// # Errors
    /// There is no answer, or its body is not JSON.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        answer(self.request(Method::GET, path)).await
    }

    /// POSTs `body` as JSON; status and JSON body.
    ///
    /// # Errors
    /// There is no answer, or its body is not JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// Creates a session; its id.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn session(&self, framework: &str) -> Result<String> {
        let (status, session) = self.post("/api/sessions", &json!({ "framework": framework })).await?;
        ensure!(status == StatusCode::CREATED, "{status} {session}");
        Ok(session["session_id"].as_str().context("no session_id")?.to_owned())
    }

    /// Submits a job to a session; its id.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn submit(&self, session: &str, job: &Value) -> Result<String> {
        let (status, job) = self.post(&format!("/api/sessions/{session}/jobs"), job).await?;
        ensure!(status == StatusCode::ACCEPTED, "{status} {job}");
        Ok(job["job_id"].as_str().context("no job_id")?.to_owned())
    }

    /// The job's current representation.
    ///
    /// # Errors
    /// The server does not know the job.
    pub async fn job(&self, id: &str) -> Result<Value> {
        let (status, job) = self.get(&format!("/api/jobs/{id}")).await?;
        ensure!(status == StatusCode::OK, "{status} {job}");
        Ok(job)
    }

    /// Reads the events of a session after number `after`, until `enough` returns true for one of
    /// them or the stream ends. Reconnects with `Last-Event-ID` when the connection is lost, as a browser does.
    ///
    /// # Errors
    /// The server refuses, or the events are not complete within [`REQUEST_TIMEOUT`].
    pub async fn follow(
        &self,
        session: &str,
        after: u64,
        mut enough: impl FnMut(&Frame) -> bool,
    ) -> Result<Vec<Frame>> {
        let mut frames: Vec<Frame> = Vec::new();
        let end = tokio::time::Instant::now() + REQUEST_TIMEOUT;
        while tokio::time::Instant::now() < end {
            let last = frames.last().map_or(after, |frame| frame.id);
            let request = self.http.get(format!("{}/api/sessions/{session}/events", self.url));
            let request = request
                .bearer_auth(&self.token)
                .header("Last-Event-ID", last)
                .header("Accept", "text/event-stream");
            let Ok(answer) = request.send().await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            match answer.status() {
                StatusCode::NO_CONTENT => return Ok(frames),
                StatusCode::OK => {}
                status => bail!("{status}: {}", answer.text().await?),
            }
            let mut bytes = answer.bytes_stream();
            let mut text = String::new();
            while let Ok(Some(Ok(chunk))) = tokio::time::timeout_at(end, bytes.next()).await {
                text.push_str(std::str::from_utf8(&chunk).context("frames are split inside a character")?);
                while let Some(cut) = text.find("\n\n") {
                    let frame: String = text.drain(..cut + 2).collect();
                    if let Some(frame) = parse(&frame)? {
                        frames.push(frame);
                        if frames.last().is_some_and(&mut enough) {
                            return Ok(frames);
                        }
                    }
                }
            }
        }
        bail!("no more events came; last: {:?}", frames.last())
    }

    /// Reads the events of a session up to a job's `finish`.
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    pub async fn until_finish(&self, session: &str) -> Result<Vec<Frame>> {
        self.follow(session, 0, |frame| frame.event == "finish").await
    }
}

/// A plain HTTP client.
#[must_use]
pub fn http() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::new()
}

/// One frame, unless it has no id: a ping, or the retry time.
fn parse(text: &str) -> Result<Option<Frame>> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let Some(id) = field("id") else { return Ok(None) };
    let data = field("data").context("a frame without data")?;
    Ok(Some(Frame {
        id: id.parse()?,
        event: field("event").context("a frame without a name")?.to_owned(),
        data: serde_json::from_str(data)?,
    }))
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, Value)> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    let value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
    Ok((status, value))
}
