//! Extractors whose refusals are problems: JSON body, path, query.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use super::problem::{FieldError, Problem, Slug};
use super::strict_json;

/// The largest JSON body, in bytes.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// The largest batch of jobs, in bytes: the largest body that is read into memory.
pub(crate) const MAX_BATCH_BODY: usize = 8 * 1024 * 1024;

/// How long a whole JSON body may take to arrive.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a refused JSON body is still read, in bytes, and for how long.
const DISCARDED_BYTES: usize = 8 * MAX_BODY;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A JSON body of type `T`: complete, unambiguous, without unknown fields if `T` says so.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = read_body(request, MAX_BODY).await?;
        strict_json::parse(&bytes).map(Self)
    }
}

/// Reads a whole body of at most `max` bytes, within [`BODY_TIMEOUT`].
pub(crate) async fn read_body(request: Request, max: usize) -> Result<Bytes, Problem> {
    let refused = refuse_length(request.headers(), max);
    let mut body = request.into_body();
    if let Err(problem) = refused {
        discard(&mut body, DISCARDED_BYTES, DISCARD_TIMEOUT).await;
        return Err(problem);
    }
    match tokio::time::timeout(BODY_TIMEOUT, collect(&mut body, max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(problem)) => {
            discard(&mut body, DISCARDED_BYTES, DISCARD_TIMEOUT).await;
            Err(problem)
        }
        Err(_) => Err(Problem::new(Slug::RequestTimeout, "the body did not arrive in time")),
    }
}

async fn collect(body: &mut Body, max: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(Slug::MalformedJson, "the body ended early"))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Reads and discards at most `max` bytes of a refused body, for at most `limit`: a client that is still sending when
/// the connection is closed may never see the answer (RFC 9112 section 9.6).
pub(crate) async fn discard(body: &mut Body, max: usize, limit: Duration) {
    let reading = async {
        let mut left = max;
        while let Some(Ok(frame)) = body.frame().await
            && let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len))
        {
            left = rest;
        }
    };
    tokio::time::timeout(limit, reading).await.ok();
}

/// Refuses a body that says itself that it is too large, before a byte of it is read.
pub(crate) fn refuse_length(headers: &HeaderMap, max: usize) -> Result<(), Problem> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > max as u64) { Err(too_large(max)) } else { Ok(()) }
}

/// The refusal of a body of more than `max` bytes.
pub(crate) fn too_large(max: usize) -> Problem {
    Problem::new(Slug::BodyTooLarge, format!("a body here has at most {max} bytes"))
}

/// Refuses a body that does not say that it is JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(Slug::UnsupportedMediaType, "send content-type: application/json"))
    }
}

/// Parameters of the path. One that cannot be a name of anything names nothing: `not-found`.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| {
                Problem::new(Slug::NotFound, "no such thing: the path holds an impossible identifier")
            })
    }
}

/// Parameters of the query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(value)| Self(value)).map_err(
            |rejection| {
                let text = rejection.source().map_or_else(|| rejection.body_text(), ToString::to_string);
                let (name, detail) = text.split_once(": ").unwrap_or(("", &text));
                Problem::validation(vec![FieldError::parameter(name, detail)])
            },
        )
    }
}

/// Refuses a number that is out of its range, and fills in its default.
pub(crate) fn limit(given: Option<usize>, default: usize, max: usize) -> Result<usize, Problem> {
    match given.unwrap_or(default) {
        limit if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(Problem::validation(vec![FieldError::parameter("limit", format!("1 to {max}"))])),
    }
}

/// The number of an event in a query: at most 2^63 - 1, as the format `int64` of the API's description says.
pub(crate) fn event_number(name: &'static str, given: u64) -> Result<u64, Problem> {
    if i64::try_from(given).is_ok() {
        return Ok(given);
    }
    Err(Problem::validation(vec![FieldError::parameter(name, format!("0 to {}", i64::MAX))]))
}

/// Cuts what was read with one more than `limit` down to a page. Where the next page begins, if there is one.
pub(crate) fn cut<T, K>(found: &mut Vec<T>, limit: usize, cursor: impl FnOnce(&T) -> K) -> Option<K> {
    let more = found.len() > limit;
    found.truncate(limit);
    found.last().filter(|_| more).map(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::show;
    use axum::Router;
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        limit: Option<usize>,
    }

    async fn ask(request: http::request::Builder, body: impl Into<Body>) -> String {
        let app = Router::new()
            .route("/body", post(async |Json(_): Json<serde_json::Value>| "read"))
            .route(
                "/query",
                get(async |Query(asked): Query<Asked>| limit(asked.limit, 10, 20).map(|n| n.to_string())),
            )
            .route("/id/{id}", get(async |Path(_): Path<uuid::Uuid>| "found"));
        show(app.oneshot(request.body(body.into()).unwrap()).await.into_response()).await
    }

    fn json(uri: &str) -> http::request::Builder {
        http::Request::post(uri).header("content-type", "application/json; charset=utf-8")
    }

    #[tokio::test]
    async fn bodies() {
        assert!(ask(json("/body"), "{}").await.starts_with("200"));
        assert!(ask(http::Request::post("/body"), "{}").await.starts_with("415"));
        assert!(
            ask(http::Request::post("/body").header("content-type", "text/json"), "{}")
                .await
                .starts_with("415")
        );
        assert!(ask(json("/body").header("content-length", "1048577"), "{}").await.starts_with("413"));
        let endless = Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("  ")));
        assert!(ask(json("/body"), endless).await.starts_with("413"));
        let broken =
            Body::from_stream(futures_util::stream::iter([Ok("{"), Err(std::io::Error::other("cut"))]));
        assert!(ask(json("/body"), broken).await.starts_with("400"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let silent = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(ask(json("/body"), silent).await.starts_with("408"));
    }

    #[tokio::test]
    async fn queries_and_paths() {
        for query in ["limit=0", "limit=21", "limit=-1", "limit=x", "limit=1&limit=2", "lmiit=1"] {
            let answer = ask(http::Request::get(format!("/query?{query}")), Body::empty()).await;
            assert!(answer.starts_with("422"), "{query}: {answer}");
        }
        assert!(ask(http::Request::get("/query"), Body::empty()).await.ends_with("10"));
        insta::assert_snapshot!(ask(http::Request::get("/query?limit=x"), Body::empty()).await);
        assert!(ask(http::Request::get("/id/..%2fx"), Body::empty()).await.starts_with("404"));
        assert!(ask(http::Request::get("/id/%ff"), Body::empty()).await.starts_with("404"));
    }
}
