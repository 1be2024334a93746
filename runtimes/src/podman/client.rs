//! A thin client of libpod: one connection for each request, every request with a deadline.
//!
//! The crate `podman-api` 0.11 is not used because it cannot set `no_new_privileges` (it misspells the key, which the
//! engine then ignores), cannot send a custom request, and brings a second HTTP stack for ten requests and one stream. A
//! connection over a unix socket costs less than 0.1 ms, and none can go stale while the service restarts.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::engine::connect_fault::{ConnectFault, EngineName};
use crate::{RuntimeError, RuntimeErrorKind};

/// The version of the API that is spoken: the oldest that Podman 4 and 5 serve.
const API: &str = "/v4.0.0/libpod";

/// The largest answer that is read, in bytes: the list of ten thousand containers is smaller.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The longest line of a stream, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A client of the libpod service at a unix socket, reachable or not.
pub(crate) struct Client {
    socket: PathBuf,
}

/// A request: a method, a path below the API with its query, and a body.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    content_type: &'static str,
    body: Bytes,
}

/// An answer with a status of success.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Bytes,
    version: String,
}

/// The body of a refusal.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    cause: String,
    #[serde(default)]
    message: String,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        let content_type = "application/json";
        Self { method, path: path.into(), query: Vec::new(), content_type, body: Bytes::new() }
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        Self { body: Bytes::from(body.to_string()), ..self }
    }

    pub(crate) fn tar(self, body: Bytes) -> Self {
        Self { body, content_type: "application/x-tar", ..self }
    }

    fn into_http(self) -> Result<http::Request<Full<Bytes>>, http::Error> {
        let mut uri = format!("{API}{}", self.path);
        for (index, (key, value)) in self.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(key);
            uri.push('=');
            uri.push_str(&escaped(value));
        }
        http::Request::builder()
            .method(self.method)
            .uri(uri)
            // HTTP/1.1 requires a host, whose name does not matter over a unix socket
            .header("host", "podman")
            .header("content-type", self.content_type)
            .body(Full::new(self.body))
    }
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, RuntimeError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            RuntimeError::new(RuntimeErrorKind::Refused, format!("{what}: an answer that is not libpod's"))
                .because(error)
        })
    }

    pub(crate) fn bytes(self) -> Bytes {
        self.body
    }

    /// The version of libpod, which every answer names.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

impl Client {
    /// The service at `host`: `unix:///run/podman/podman.sock`, or the path alone.
    pub(crate) fn new(host: &str) -> Self {
        Self { socket: PathBuf::from(host.strip_prefix("unix://").unwrap_or(host)) }
    }

    /// Sends `request`; the answer within `limit`. `what` tells in an error what was tried.
    pub(crate) async fn send(
        &self,
        limit: Duration,
        what: &str,
        request: Request,
    ) -> Result<Answer, RuntimeError> {
        let answer = async {
            let (head, body) = self.connect_and_send(what, request).await?.into_parts();
            let version = head.headers.get("libpod-api-version").and_then(|version| version.to_str().ok());
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| unavailable(what).because(error))?.to_bytes();
            Ok(Answer { body, version: version.unwrap_or_default().to_owned() })
        };
        in_time(limit, what, answer).await
    }

    /// The lines of an endless answer. Its head comes within `limit`; the lines have no deadline.
    pub(crate) async fn lines(
        &self,
        limit: Duration,
        what: &'static str,
        request: Request,
    ) -> Result<BoxStream<'static, Result<Bytes, RuntimeError>>, RuntimeError> {
        let answer = in_time(limit, what, self.connect_and_send(what, request)).await?;
        let pieces = BodyDataStream::new(answer.into_body());
        let lines = futures_util::stream::try_unfold(
            (pieces, BytesMut::new()),
            move |(mut pieces, mut rest)| async move {
                loop {
                    if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                        let line = rest.split_to(end + 1).freeze();
                        return Ok(Some((line, (pieces, rest))));
                    }
                    match pieces.next().await {
                        Some(Ok(piece)) if rest.len() <= MAX_LINE_BYTES => rest.extend_from_slice(&piece),
                        Some(Ok(_)) => {
                            let message = format!("{what}: a line of more than {MAX_LINE_BYTES} bytes");
                            return Err(RuntimeError::new(RuntimeErrorKind::Refused, message));
                        }
                        Some(Err(error)) => return Err(unavailable(what).because(error)),
                        None => return Ok(None),
                    }
                }
            },
        );
        Ok(lines.boxed())
    }

    async fn connect_and_send(
        &self,
        what: &str,
        request: Request,
    ) -> Result<Response<Incoming>, RuntimeError> {
        let request = request
            .into_http()
            .map_err(|error| RuntimeError::new(RuntimeErrorKind::Refused, what).because(error))?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            let message = format!("{what}: cannot reach Podman");
            let fault =
                ConnectFault::of(EngineName::Podman, &format!("unix://{}", self.socket.display()), &error);
            RuntimeError::new(RuntimeErrorKind::Unavailable, message).because(fault)
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unavailable(what).because(error))?;
        // ends with the answer's body or when that is dropped
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| unavailable(what).because(error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => {
                let body = Limited::new(answer.into_body(), MAX_LINE_BYTES).collect().await;
                let body = body.map_err(|error| unavailable(what).because(error))?.to_bytes();
                Err(refused(what, status, &body))
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("socket", &self.socket).finish()
    }
}

async fn in_time<T>(
    limit: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let message = format!("{what}: no answer from Podman within {} s", limit.as_secs());
        Err(RuntimeError::new(RuntimeErrorKind::Deadline, message))
    })
}

fn unavailable(what: &str) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Unavailable, what)
}

/// The error of a refusal. Podman 4 answers 500 to nearly everything, so the kind follows from the cause.
fn refused(what: &str, status: StatusCode, body: &[u8]) -> RuntimeError {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_else(|_| Refusal {
        cause: String::new(),
        message: String::from_utf8_lossy(body).into_owned(),
    });
    let says = |text: &str| refusal.cause.contains(text) || refusal.message.contains(text);
    let kind = match status {
        _ if says("image not known") || says("no such image") => RuntimeErrorKind::ImageMissing,
        _ if says("name is already in use") || says("container state improper") => RuntimeErrorKind::Conflict,
        StatusCode::CONFLICT => RuntimeErrorKind::Conflict,
        StatusCode::NOT_FOUND => RuntimeErrorKind::NotFound,
        _ => RuntimeErrorKind::Refused,
    };
    let advice = if says("hybrid mode not supported") {
        "; crun does not run here: set runtime = \"runc\" under [engine] in /etc/containers/containers.conf, and \
         start the service again"
    } else {
        ""
    };
    let message = refusal.message.trim();
    let because = if message.is_empty() { status.to_string() } else { message.to_owned() };
    RuntimeError::new(kind, what).because(format!("{because}{advice}"))
}

/// `text` as a part of a URL: all but unreserved characters percent-encoded (RFC 3986).
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // writing into a string cannot fail
            write!(escaped, "%{byte:02X}").ok();
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_refusal_follows_from_its_cause() {
        use RuntimeErrorKind::{Conflict, ImageMissing, NotFound, Refused};
        for (status, body, kind) in [
            (500, r#"{"cause":"image not known","message":"x:latest: image not known"}"#, ImageMissing),
            (404, r#"{"cause":"image not known","message":"x:latest: image not known"}"#, ImageMissing),
            (
                500,
                r#"{"cause":"that name is already in use","message":"creating container storage"}"#,
                Conflict,
            ),
            (500, r#"{"cause":"container state improper","message":"sending SIGKILL"}"#, Conflict),
            (409, r#"{"cause":"","message":"conflict"}"#, Conflict),
            (404, r#"{"cause":"no such container","message":"no container with name or ID"}"#, NotFound),
            (500, "not JSON at all", Refused),
            (500, "", Refused),
        ] {
            let error = refused("cannot do it", StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(error.kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn a_runtime_that_does_not_fit_the_machine_comes_with_a_remedy() {
        let body = br#"{"cause":"OCI runtime error","message":"crun: cgroups in hybrid mode not supported"}"#;
        let error = refused("cannot start the container", StatusCode::INTERNAL_SERVER_ERROR, body);
        insta::assert_snapshot!(error, @r#"cannot start the container: crun: cgroups in hybrid mode not supported; crun does not run here: set runtime = "runc" under [engine] in /etc/containers/containers.conf, and start the service again"#);
    }

    #[test]
    fn a_query_cannot_be_broken_out_of() {
        let request = Request::get("/containers/json").with("filters", r#"{"label":["a=b&c"]}"#);
        let uri = request.into_http().unwrap().uri().to_string();
        assert_eq!(uri, "/v4.0.0/libpod/containers/json?filters=%7B%22label%22%3A%5B%22a%3Db%26c%22%5D%7D");
    }
}
