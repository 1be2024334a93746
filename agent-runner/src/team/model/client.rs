//! The client of the LLM proxy: one request for a streamed reply (OpenAI's chat completions API), and the one place where a
//! request is repeated.
//!
//! Plain HTTP/1.1 suffices: it only connects to the loopback port that leads to the platform.

use std::fmt;
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

use crate::team::model::error::LlmError;
use crate::team::model::reply::assembly::{Assembly, BadChunk};
use crate::team::model::reply::{CallIds, Reply};
use crate::team::model::retry::{Next, Retries};
use crate::team::report::deltas::Deltas;
use crate::team::report::reporter::cut;

/// How long the service may send nothing. The proxy has limits of its own, which the operator sets and which are shorter;
/// this one only ends a wait for a proxy that is stuck.
const SILENCE_LIMIT: Duration = Duration::from_hours(1);

/// The longest event of a reply's stream, and the longest whole answer, in bytes.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

/// How much of an error's body is read, in bytes.
const MAX_ERROR_BODY_BYTES: usize = 64 * 1024;

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

    /// Requests a reply for `agent` and reports it as it comes. A request that fails for a passing reason is repeated, which
    /// is safe because no tool has been run yet.
    ///
    /// # Errors
    /// The last failure; [`LlmError::Away`] if the provider stays away longer than the attempt may wait for it.
    pub(crate) async fn turn(
        &self,
        agent: &str,
        request: &Value,
        mut retries: Retries,
        ids: &mut CallIds,
        deltas: &mut Deltas<'_>,
    ) -> Result<Reply, LlmError> {
        loop {
            let error = match self.attempt(agent, request, ids, deltas).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let random = f64::from(uuid::Uuid::now_v7().as_bytes()[15]) / 255.0;
            match retries.next(&error, random) {
                Next::Wait(pause) => {
                    deltas.reset(&error.to_string()).await?;
                    deltas.waits(&error, pause, retries.tries()).await?;
                    sleep(pause).await;
                }
                Next::GiveBack(resume_after) => {
                    deltas.reset(&error.to_string()).await?;
                    deltas.waits(&error, resume_after, retries.tries()).await?;
                    return Err(LlmError::Away { reason: error.to_string(), resume_after });
                }
                Next::Fail => return Err(error),
            }
        }
    }

    async fn attempt(
        &self,
        agent: &str,
        request: &Value,
        ids: &mut CallIds,
        deltas: &mut Deltas<'_>,
    ) -> Result<Reply, LlmError> {
        let response = timeout_at(Instant::now() + SILENCE_LIMIT, self.send(agent, request));
        let response = response.await.map_err(|_| LlmError::Idle(SILENCE_LIMIT))??;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let tools = request["tools"].as_array().into_iter().flatten();
        let tools = tools.filter_map(|tool| Some(tool["function"]["name"].as_str()?.to_owned())).collect();
        let assembly = read(response.into_body(), Assembly::new(tools), deltas).await?;
        deltas.flush().await?;
        match assembly.finish(ids) {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(LlmError::Cut),
            Err(text) => Err(LlmError::Unreadable(text)),
        }
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

/// Reads a reply until its end mark, or the end of the body: events, or one JSON answer.
async fn read(
    mut body: Incoming,
    mut assembly: Assembly,
    deltas: &mut Deltas<'_>,
) -> Result<Assembly, LlmError> {
    let mut events = Parser::new(MAX_EVENT_BYTES);
    // a whole answer, if the body is no event stream
    let mut whole: Option<Vec<u8>> = None;
    let mut is_first = true;
    let mut silent = Instant::now() + SILENCE_LIMIT;
    while !assembly.is_done() {
        let due = deltas.due();
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = sleep_until(due.unwrap_or(silent)), if due.is_some() => {
                deltas.flush().await?;
                continue;
            }
            () = sleep_until(silent) => return Err(LlmError::Idle(SILENCE_LIMIT)),
        };
        silent = Instant::now() + SILENCE_LIMIT;
        // a transfer that breaks after the end of the reply does no harm; before it, the reply is not whole
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => {
                assembly.broke();
                break;
            }
            None => break,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        if is_first && !bytes.is_empty() {
            is_first = bytes.iter().all(u8::is_ascii_whitespace);
            if bytes.trim_ascii_start().starts_with(b"{") {
                whole = Some(Vec::new());
            }
        }
        if let Some(whole) = &mut whole {
            whole.extend_from_slice(&bytes);
            if whole.len() > MAX_EVENT_BYTES {
                return Err(LlmError::TooLarge);
            }
            continue;
        }
        let mut bytes = &bytes[..];
        while let Some(event) = events.next_frame(&mut bytes).map_err(|_| LlmError::TooLarge)? {
            add(&mut assembly, event.data, deltas).await?;
        }
    }
    match whole {
        Some(whole) => add(&mut assembly, &String::from_utf8_lossy(&whole), deltas).await?,
        // an event that the closed connection ends
        None => {
            if let Ok(Some(event)) = events.next_frame(&mut &b"\n\n"[..]) {
                let data = event.data.to_owned();
                if serde_json::from_str::<Value>(&data).is_ok() {
                    add(&mut assembly, &data, deltas).await?;
                }
            }
        }
    }
    Ok(assembly)
}

async fn add(assembly: &mut Assembly, data: &str, deltas: &mut Deltas<'_>) -> Result<(), LlmError> {
    let pieces = assembly.push(data).map_err(|bad| match bad {
        BadChunk::Error(body) => LlmError::of_body(None, &body, None),
        BadChunk::TooLarge => LlmError::TooLarge,
    })?;
    for piece in pieces {
        deltas.push(piece).await?;
    }
    Ok(())
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
    let text = || Value::from(cut(String::from_utf8_lossy(&body).trim(), MAX_ERROR_BODY_BYTES));
    let json = serde_json::from_slice(&body).unwrap_or_else(|_| text());
    LlmError::of_body(Some(status), &json, retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_wants_a_url_with_a_host_and_hides_its_token() {
        let client = Client::new("http://127.0.0.1:9000/v1/", "secret".into()).unwrap();
        assert_eq!((&*client.authority, &*client.path), ("127.0.0.1:9000", "/v1/chat/completions"));
        assert!(!format!("{client:?}").contains("secret"));
        assert!(Client::new("/v1", String::new()).is_err() && Client::new("a b", String::new()).is_err());
    }
}
