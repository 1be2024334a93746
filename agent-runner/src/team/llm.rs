//! The client of the LLM proxy: one request for a streamed reply, repeated if it fails (OpenAI's chat completions API).
//!
//! Plain HTTP/1.1 suffices: it only connects to the loopback port that leads to the platform.

use std::fmt;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use mgx_protocol::sse::Parser;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::event_reporter::{Deltas, cut};
use super::reply::{Assembly, BadChunk, Reply, message};

/// How long the service may send nothing, from the request on.
const SILENCE_LIMIT: Duration = Duration::from_mins(2);

/// The pause before each repetition, unless the service names one.
const RETRY_PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(8)];

/// The longest pause that the service may name.
const MAX_RETRY_PAUSE: Duration = Duration::from_mins(1);

/// The longest event of a reply's stream, in bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// How much of an error's body is read, in bytes.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

/// How much of an error's text is reported, in bytes.
const MAX_ERROR_TEXT_BYTES: usize = 1024;

/// The address of the service, and the token of this attempt.
pub(crate) struct Client {
    authority: String,
    path: String,
    token: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LlmError {
    /// The service refused the request, or cannot serve it now.
    #[error("the model service answered {status}: {message}")]
    Status { status: u16, message: String, retry_after: Option<Duration>, is_final: bool },
    /// The service reported an error in mid-stream.
    #[error("the model service broke off its reply: {0}")]
    Provider(String),
    /// There is no connection, or it broke.
    #[error("the connection to the model service failed: {0}")]
    Connection(String),
    /// The stream ended too early.
    #[error("the model's reply was cut off")]
    Cut,
    /// The service sent nothing for too long.
    #[error("the model service sent nothing for {} s", SILENCE_LIMIT.as_secs())]
    Idle,
    /// The reply is longer than the limits.
    #[error("the model's reply is too large")]
    TooLarge,
    /// The runner takes no events any more.
    #[error("cannot report: {0}")]
    Report(#[from] io::Error),
}

impl LlmError {
    /// The value of `error_type` in its event.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Status { is_final: true, .. } | Self::TooLarge => "llm_refused",
            Self::Status { status: 429, .. } => "llm_rate_limited",
            Self::Status { status: ..500, .. } => "llm_refused",
            Self::Status { .. } | Self::Provider(_) | Self::Connection(_) | Self::Cut => "llm_unavailable",
            Self::Idle => "llm_timeout",
            Self::Report(_) => "runner_gone",
        }
    }

    /// Whether the same request may succeed later.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Status { status, is_final, .. } => {
                !is_final && matches!(status, 408 | 409 | 425 | 429 | 500..)
            }
            Self::Provider(_) | Self::Connection(_) | Self::Cut | Self::Idle => true,
            Self::TooLarge | Self::Report(_) => false,
        }
    }

    /// The pause that the service has asked for.
    fn requested_pause(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Provider(_)
            | Self::Connection(_)
            | Self::Cut
            | Self::Idle
            | Self::TooLarge
            | Self::Report(_) => None,
        }
    }
}

impl Client {
    /// A client of the API at `base_url`, such as `http://127.0.0.1:9000/v1`.
    ///
    /// # Errors
    /// A text for people: `base_url` is no URL with a host.
    pub(crate) fn new(base_url: &str, token: String) -> Result<Self, String> {
        let uri: Uri = base_url.parse().map_err(|error| format!("OPENAI_BASE_URL: {error}"))?;
        let authority = uri.authority().ok_or("OPENAI_BASE_URL: it names no host")?.to_string();
        let path = format!("{}/chat/completions", uri.path().trim_end_matches('/'));
        Ok(Self { authority, path, token })
    }

    /// Requests a reply for `agent` and reports its text as it comes. A request that fails is repeated a few times, which is
    /// safe because no tool has been run yet.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) async fn turn(
        &self,
        agent: &str,
        request: &Value,
        deltas: &mut Deltas<'_>,
    ) -> Result<Reply, LlmError> {
        let mut pauses = RETRY_PAUSES.into_iter();
        loop {
            let error = match self.attempt(agent, request, deltas).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let pause = pauses.next().filter(|_| error.is_retryable());
            let Some(pause) = pause else { return Err(error) };
            deltas.reset(&error.to_string()).await?;
            sleep(error.requested_pause().unwrap_or(pause).min(MAX_RETRY_PAUSE)).await;
        }
    }

    async fn attempt(
        &self,
        agent: &str,
        request: &Value,
        deltas: &mut Deltas<'_>,
    ) -> Result<Reply, LlmError> {
        let response = timeout_at(Instant::now() + SILENCE_LIMIT, self.send(agent, request));
        let response = response.await.map_err(|_| LlmError::Idle)??;
        let reply = if response.status().is_success() {
            read(response.into_body(), deltas).await
        } else {
            Err(refusal(response).await)
        }?;
        deltas.flush().await?;
        Ok(reply)
    }

    async fn send(&self, agent: &str, request: &Value) -> Result<Response<Incoming>, LlmError> {
        let failed = |error: &dyn fmt::Display| LlmError::Connection(error.to_string());
        let stream = TcpStream::connect(&self.authority).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        // ends when the response has been read or dropped; its errors come out of the body
        tokio::spawn(connection);
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .header(CONTENT_TYPE, "application/json")
            .header("x-mgx-agent", agent)
            .body(Full::new(Bytes::from(request.to_string())))
            .map_err(|error| failed(&error))?;
        sender.send_request(request).await.map_err(|error| failed(&error))
    }
}

async fn read(mut body: Incoming, deltas: &mut Deltas<'_>) -> Result<Reply, LlmError> {
    let (mut events, mut assembly) = (Parser::new(MAX_EVENT_BYTES), Assembly::default());
    let mut silent = Instant::now() + SILENCE_LIMIT;
    loop {
        let due = deltas.due();
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = sleep_until(due.unwrap_or(silent)), if due.is_some() => {
                deltas.flush().await?;
                continue;
            }
            () = sleep_until(silent) => return Err(LlmError::Idle),
        };
        silent = Instant::now() + SILENCE_LIMIT;
        let Some(frame) = frame else { return assembly.finish().ok_or(LlmError::Cut) };
        // a transfer that breaks after the end of the reply does no harm
        let Ok(frame) = frame else { return assembly.finish().ok_or(LlmError::Cut) };
        let Ok(bytes) = frame.into_data() else { continue };
        let mut bytes = &bytes[..];
        while let Some(event) = events.next_frame(&mut bytes).map_err(|_| LlmError::TooLarge)? {
            let text = assembly.push(event.data).map_err(|bad| match bad {
                BadChunk::Unreadable(why) => LlmError::Provider(format!("it cannot be read: {why}")),
                BadChunk::Error(why) => LlmError::Provider(cut(&why, MAX_ERROR_TEXT_BYTES)),
                BadChunk::TooLarge => LlmError::TooLarge,
            })?;
            if !text.is_empty() {
                deltas.push(&text).await?;
            }
        }
    }
}

/// The error of a response without a status of success.
async fn refusal(response: Response<Incoming>) -> LlmError {
    let status = response.status().as_u16();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let body = timeout_at(
        Instant::now() + SILENCE_LIMIT,
        Limited::new(response.into_body(), MAX_ERROR_BODY_BYTES).collect(),
    )
    .await;
    let body = body.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
    let json = serde_json::from_slice::<Value>(&body);
    // the proxy answers 429 for a spent budget too, and says that a repetition does not help
    let is_final = json.as_ref().is_ok_and(|body| body["error"]["retryable"] == false);
    let text = match json {
        Ok(body) => message(["error", "detail"].iter().find_map(|key| body.get(key)).unwrap_or(&body)),
        Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    LlmError::Status { status, message: cut(&text, MAX_ERROR_TEXT_BYTES), retry_after, is_final }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_failures_are_retried_and_lasting_ones_are_not() {
        let answered =
            |status, is_final| LlmError::Status { status, message: "no".into(), retry_after: None, is_final };
        let status = |status| answered(status, false);
        for retryable in [408, 409, 429, 500, 502, 503, 529].map(status) {
            assert!(retryable.is_retryable(), "{retryable}");
        }
        for lasting in [400, 401, 402, 403, 404, 413, 422].map(status) {
            assert!(!lasting.is_retryable(), "{lasting}");
        }
        let spent = answered(429, true);
        assert_eq!((spent.is_retryable(), spent.kind()), (false, "llm_refused"));
        assert!(
            [LlmError::Cut, LlmError::Idle, LlmError::Connection(String::new())]
                .iter()
                .all(LlmError::is_retryable)
        );
    }

    #[test]
    fn a_client_wants_a_url_with_a_host_and_hides_its_token() {
        let client = Client::new("http://127.0.0.1:9000/v1/", "secret".into()).unwrap();
        assert_eq!((&*client.authority, &*client.path), ("127.0.0.1:9000", "/v1/chat/completions"));
        assert!(!format!("{client:?}").contains("secret"));
        assert!(Client::new("/v1", String::new()).is_err() && Client::new("a b", String::new()).is_err());
    }
}
