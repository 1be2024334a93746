//! Shared by the tests of this crate: a server, and a response as readable text.

pub(crate) mod server;
pub(crate) mod socket;

use axum::response::Response;
use http_body_util::BodyExt;

/// Status, headers in order of their names, an empty line, and the body; JSON is laid out.
pub(crate) async fn show(response: Response) -> String {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("test bodies do not fail").to_bytes();
    let mut headers: Vec<String> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort();
    let body = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    format!("{}\n{}\n\n{body}", head.status, headers.join("\n"))
}
