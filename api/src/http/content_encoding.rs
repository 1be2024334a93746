//! `Content-Encoding` of requests (RFC 9110 section 8.4): bodies are taken as they are, so one that is compressed is refused.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body::Body as _;

use super::extract::discard;
use super::{Problem, Slug};

/// How much of a refused body is still read, in bytes, and for how long.
const DISCARDED_BYTES: usize = 8 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Refuses a request with a body whose `Content-Encoding` names anything but `identity`: what would be stored or parsed
/// is not what the client means.
pub(crate) async fn refuse(request: Request, next: Next) -> Result<Response, Problem> {
    let has_body = !request.body().is_end_stream() || request.headers().contains_key(header::CONTENT_LENGTH);
    if is_identity(request.headers()) || !has_body {
        return Ok(next.run(request).await);
    }
    discard(&mut request.into_body(), DISCARDED_BYTES, DISCARD_TIMEOUT).await;
    Err(Problem::new(
        Slug::UnsupportedMediaType,
        "a body is read as it comes: send it without content-encoding",
    )
    .header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// Whether every coding that is named is `identity`.
fn is_identity(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().all(|line| {
        let codings = line.to_str().unwrap_or("?").split(',').map(str::trim);
        codings.into_iter().all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use serde_json::json;

    use crate::testing::server::{ask, test_server};

    #[tokio::test]
    async fn a_compressed_body_is_refused_wherever_a_body_is_read() {
        let server = test_server().await;
        server.post("/api/sessions", json!({ "session_id": "demo" })).await;
        let file = "/api/workspaces/demo/files/a.txt";
        for (method, path, media_type) in [
            ("PUT", file, "text/plain"),
            ("PUT", "/api/workspaces/demo/files?path=a.txt", "application/json"),
            ("POST", "/api/sessions", "application/json"),
            ("POST", "/api/sessions/demo/jobs", "application/json"),
            ("POST", "/api/sessions/demo/jobs:batch", "application/json"),
            ("POST", "/api/sessions:import", "application/jsonl"),
            ("POST", "/api/tokens", "application/json"),
            ("POST", "/api/agent/generate", "application/json"),
        ] {
            for coding in ["gzip", "br", "zstd", "GZIP", "x-unknown", "identity, gzip", "\"gzip\""] {
                let request = ask(method, path).header("content-type", media_type);
                let request = request.header("content-encoding", coding).header("idempotency-key", "key");
                let (status, code, _) = server.code(request, "not what it says").await;
                assert_eq!((status, &*code), (415, "unsupported-media-type"), "{method} {path} {coding}");
            }
        }
        let two = ask("PUT", file).header("content-encoding", "identity").header("content-encoding", "gzip");
        let refused = server.send(two, "x").await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["accept-encoding"]),
            (415, &"identity".parse().unwrap())
        );
        assert_eq!(server.get(file).await.0, 404, "nothing was stored");
        for coding in ["identity", "Identity", "", "identity, identity"] {
            let plain = server.send(ask("PUT", file).header("content-encoding", coding), "x").await;
            assert!(plain.status().is_success(), "{coding}: {plain:?}");
        }
        let read = server.send(ask("GET", file).header("content-encoding", "gzip"), Body::empty()).await;
        assert_eq!(read.status(), 200, "there is no body that it could describe");
    }
}
