//! `Idempotency-Key` on every POST: a repeated request is carried out once (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A key belongs to one user and one path, and is kept for a day; [`mgx_apps::Idempotency`] has the order of the steps. The request
//! is carried out in a task of its own, so that a client that disconnects does not stop it half way. A refusal (4xx) has done
//! nothing, and its key is given back. After a failure (5xx) the next request with the key is carried out with the same ids.

#[cfg(test)]
mod once_tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use mgx_apps::{Begun, Idempotency, IdempotencyError, IntentKey, SessionError};
use serde::{Deserialize, Serialize};
use tracing::{Instrument, warn};

use crate::auth::Caller;
use crate::http::extract::{MAX_BATCH_BODY, read_body};
use crate::http::ids::Ids;
use crate::http::{Problem, Slug};

/// The header of the request.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `true` on an answer that was stored by an earlier request.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// How long a second request with a key waits for the answer to the first.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is stored, in bytes. The answer to a full batch is smaller.
const MAX_ANSWER: usize = 1 << 20;

/// The headers that are stored with an answer.
const STORED_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// An answer as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Whether a POST of this path may have a key. A path whose answers hold secrets, or are streams, may not: the answer would
/// be stored. Nor one whose requests hold a password: a hash of the request would be stored.
pub(crate) fn takes_key(path: &str) -> bool {
    path.starts_with("/api/")
        && !["/api/admin/", "/api/apps/"].iter().any(|prefix| path.starts_with(prefix))
        && !matches!(path, "/api/tokens" | "/api/me/password")
}

/// Passes requests without a key on; carries out a POST with a key once, and repeats its answer.
pub(crate) async fn carry_out_once(
    State(idempotency): State<Idempotency>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let keyed = request.method() == Method::POST && request.headers().contains_key(KEY);
    let Some(caller) = request.extensions().get::<Caller>().filter(|_| keyed).cloned() else {
        return Ok(next.run(request).await);
    };
    let name = name(request.headers())?.to_owned();
    if !takes_key(request.uri().path()) {
        let detail = "requests or answers here hold a secret or are streams, and none is kept: send no key";
        return Err(Problem::new(Slug::InvalidIdempotencyKey, detail));
    }
    let (parts, body) = request.into_parts();
    let body = read_body(Request::from_parts(parts.clone(), body), MAX_BATCH_BODY).await?;
    let key = IntentKey::of(&[caller.user().as_bytes(), parts.uri.path().as_bytes(), name.as_bytes()]);
    let query = parts.uri.query().unwrap_or_default();
    let IntentKey(fingerprint) = IntentKey::of(&[query.as_bytes(), &body]);
    let request = Request::from_parts(parts, body.into());

    let in_progress = |_| Problem::new(Slug::InProgress, "a request with this key is being answered");
    let lock = tokio::time::timeout(LOCK_TIMEOUT, idempotency.lock(key)).await.map_err(in_progress)?;
    let work = async move {
        let answer = answer(&idempotency, key, fingerprint, request, next).await;
        drop(lock);
        answer
    };
    match tokio::spawn(work.in_current_span()).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Problem::draining()),
    }
}

/// The stored answer, or the answer of the handler. The caller holds the lock of `key`.
async fn answer(
    idempotency: &Idempotency,
    key: IntentKey,
    fingerprint: [u8; 32],
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (intent, is_resumed) = match idempotency.begin(key, fingerprint).await {
        Ok(Begun::Proceed { intent, resumed }) => (Arc::new(intent), resumed),
        Ok(Begun::Replay(answer)) => return Answer::replay(&answer),
        Err(IdempotencyError::Mismatch) => {
            let detail = "this key came with another body before: use a new key for a new request";
            return Err(Problem::new(Slug::IdempotencyMismatch, detail));
        }
        Err(IdempotencyError::Full) => return Err(too_many()),
        Err(IdempotencyError::NoRandomness) => {
            return Err(Problem::new(Slug::Internal, "the kernel gives no randomness"));
        }
        Err(IdempotencyError::Store(error)) => return Err(SessionError::Store(error).into()),
    };
    request.extensions_mut().insert(Ids::of(intent.clone(), is_resumed));
    let response = next.run(request).await;
    if response.status().is_client_error() {
        // an earlier request with the key may have done something before it failed
        if !is_resumed {
            idempotency.give_back(&intent).await;
        }
        return Ok(response);
    }
    let (answer, response) = Answer::read(response).await;
    if let Some(answer) = answer {
        idempotency.keep_answer(&intent, answer).await;
    }
    Ok(response)
}

impl Answer {
    /// The answer as it is stored, if it is stored at all, and the answer itself.
    async fn read(response: Response) -> (Option<Vec<u8>>, Response) {
        let (head, body) = response.into_parts();
        if head.status.is_server_error() {
            return (None, Response::from_parts(head, body));
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                warn!(%error, "an answer broke off");
                return (None, Problem::new(Slug::Internal, "the answer broke off").into_response());
            }
        };
        let text = |name: HeaderName| {
            let value = head.headers.get(&name)?.to_str().ok()?.to_owned();
            Some((name.as_str().to_owned(), value))
        };
        let stored =
            std::str::from_utf8(&body).ok().filter(|text| text.len() <= MAX_ANSWER).map(|body| Self {
                status: head.status.as_u16(),
                headers: STORED_HEADERS.into_iter().filter_map(text).collect(),
                body: body.to_owned(),
            });
        let stored = stored.and_then(|answer| serde_json::to_vec(&answer).ok());
        (stored, Response::from_parts(head, Body::from(body)))
    }

    /// The stored answer as a response.
    fn replay(stored: &[u8]) -> Result<Response, Problem> {
        let unreadable = || Problem::new(Slug::Internal, "the answer that was kept cannot be read");
        let Self { status, headers, body } = serde_json::from_slice(stored).map_err(|_| unreadable())?;
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| unreadable())?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(|_| unreadable())?;
            let value = HeaderValue::try_from(value).map_err(|_| unreadable())?;
            response.headers_mut().insert(name, value);
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// The key: a string of RFC 8941, as the draft has it, or the bare word that most clients send.
fn name(headers: &HeaderMap) -> Result<&str, Problem> {
    let wrong = || {
        let detail = format!("one header with 1 to {MAX_KEY} visible ASCII characters, best a random UUID");
        Problem::new(Slug::InvalidIdempotencyKey, detail)
    };
    let mut all = headers.get_all(KEY).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(wrong()) };
    let text = value.to_str().map_err(|_| wrong())?.trim();
    let word = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=MAX_KEY).contains(&word.len());
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b',' | b';');
    if fits && word.bytes().all(plain) { Ok(word) } else { Err(wrong()) }
}

fn too_many() -> Problem {
    let max = Idempotency::BOUNDS.count;
    let detail = format!("{max} idempotency keys are stored, the most there may be: send none, or wait");
    Problem::new(Slug::TooManyKeys, detail).retry_after(Idempotency::RETRY_WHEN_FULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(values: &[&'static str]) -> Option<String> {
        let headers: HeaderMap = values.iter().map(|value| (KEY, HeaderValue::from_static(value))).collect();
        name(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn a_key_is_one_word_quoted_or_not() {
        assert_eq!(given(&["8e03978e-40d5-43e8"]).as_deref(), Some("8e03978e-40d5-43e8"));
        assert_eq!(given(&["\"8e03978e-40d5-43e8\""]), given(&["8e03978e-40d5-43e8"]));
        for wrong in [&[""][..], &["\"\""], &["a b"], &["a\"b"], &["\"a"], &["a;p=1"], &["a", "a"]] {
            assert_eq!(given(wrong), None, "{wrong:?}");
        }
        let long = HeaderMap::from_iter([(KEY, HeaderValue::from_str(&"x".repeat(256)).unwrap())]);
        assert_eq!(name(&long).unwrap_err().slug(), Slug::InvalidIdempotencyKey);
    }
}
