//! `Idempotency-Key` on every POST: asked twice, done once (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A key counts for one user and one path, for a day. In this order, each step durable before the next begins:
//!
//! 1. the key is written down with a seed, from which the ids of everything that the request makes are derived;
//! 2. the request does its work, in a task of its own, so that a client that leaves cannot stop it half way;
//! 3. the answer is written down;
//! 4. the answer is sent.
//!
//! Wherever the process dies in between, the same request again finds the seed and makes the same job and the same
//! session, or finds that they are there; it never makes others. A refusal that may pass (408, 429, 5xx) is not
//! kept: the next try with the key is a real one, with the same ids.

mod ids;
#[cfg(test)]
mod once_tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use mgx_apps::{Claim, Intent, IntentBounds, IntentKey, IntentStore, SessionError};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, warn};

use crate::auth::Caller;
use crate::http::extract::{MAX_BATCH_BODY, read_body};
use crate::http::{Problem, Slug};

pub(crate) use ids::Ids;

/// The header of the request.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Says `true` on an answer that was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// How long a key counts.
const LIFE: SignedDuration = SignedDuration::from_hours(24);

/// How long a second request waits for the first.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is kept at most: a million keys, a gibibyte of answers.
const BOUNDS: IntentBounds = IntentBounds { count: 1_000_000, bytes: 1 << 30 };

/// The largest answer that is kept, in bytes. The answer to a full batch is smaller.
const MAX_ANSWER: usize = 1 << 20;

/// How often expired keys are forgotten, and how many of them in one write.
const SWEEP: (Duration, usize) = (Duration::from_mins(10), 10_000);

/// The headers of an answer that are kept with it.
const KEPT: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

/// Remembers what was asked under which key, and what was answered.
#[derive(Clone, Debug)]
pub struct Once {
    store: Arc<dyn IntentStore>,
    /// One lock for each key that a request holds or waits for.
    turns: Arc<Mutex<HashMap<IntentKey, Arc<tokio::sync::Mutex<()>>>>>,
}

/// An answer as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Once {
    /// Remembers in `store`.
    pub fn new(store: Arc<dyn IntentStore>) -> Self {
        Self { store, turns: Arc::default() }
    }

    /// Forgets expired keys, until `closing`.
    pub async fn sweep(self, closing: CancellationToken) {
        let (pause, limit) = SWEEP;
        loop {
            match self.store.forget_intents(Timestamp::now() - LIFE, limit).await {
                Ok(count) if count == limit => continue,
                Ok(_) => {}
                Err(error) => {
                    warn!(%error, "expired idempotency keys cannot be forgotten; trying again later");
                }
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Waits until no other request holds the key.
    async fn turn(&self, key: IntentKey) -> Turn {
        let place = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let lock = turns.entry(key).or_default().clone();
            Place { turns: self.turns.clone(), key, lock: Some(lock) }
        };
        let lock = place.lock.clone().expect("it is there until the place is dropped");
        Turn { _guard: lock.lock_owned().await, _place: place }
    }
}

/// Whether a POST of this path is done once for each key. What answers with a secret is not: the answer would be kept.
pub(crate) fn is_once(path: &str) -> bool {
    path.starts_with("/api/") && !path.starts_with("/api/admin/") && path != "/api/tokens"
}

/// Lets every request without a key through; does every POST with one once.
pub(crate) async fn once(
    State(once): State<Once>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let keyed = request.method() == Method::POST && request.headers().contains_key(KEY);
    let Some(caller) = request.extensions().get::<Caller>().filter(|_| keyed).cloned() else {
        return Ok(next.run(request).await);
    };
    let name = name(request.headers())?.to_owned();
    if !is_once(request.uri().path()) {
        let detail = "answers here hold a secret, and none is kept: send no key";
        return Err(Problem::new(Slug::InvalidIdempotencyKey, detail));
    }
    let (parts, body) = request.into_parts();
    let body = read_body(Request::from_parts(parts.clone(), body), MAX_BATCH_BODY).await?;
    let key = IntentKey::of(&[caller.user().as_bytes(), parts.uri.path().as_bytes(), name.as_bytes()]);
    let query = parts.uri.query().unwrap_or_default();
    let IntentKey(fingerprint) = IntentKey::of(&[query.as_bytes(), &body]);
    let request = Request::from_parts(parts, body.into());

    let in_progress = |_| Problem::new(Slug::InProgress, "a request with this key is being answered");
    let turn = tokio::time::timeout(PATIENCE, once.turn(key)).await.map_err(in_progress)?;
    let work = async move {
        let answer = once.answer(key, fingerprint, request, next).await;
        drop(turn);
        answer
    };
    match tokio::spawn(work.in_current_span()).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Problem::draining()),
    }
}

impl Once {
    /// The answer that was given, or the one that is given now. Only who has the turn of `key` may ask.
    async fn answer(
        &self,
        key: IntentKey,
        fingerprint: [u8; 32],
        mut request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let new = Intent::new(key, fingerprint)
            .map_err(|_| Problem::new(Slug::Internal, "the kernel gives no randomness"))?;
        let claimed = self.store.claim(&new, new.at - LIFE, BOUNDS).await.map_err(SessionError::Store)?;
        let (intent, resumed) = match claimed {
            Claim::New => (new, false),
            Claim::Full => return Err(too_many()),
            Claim::Known(known) if known.fingerprint != fingerprint => {
                let detail = "this key came with another body before: use a new key for a new request";
                return Err(Problem::new(Slug::IdempotencyMismatch, detail));
            }
            Claim::Known(known) => match known.answer.as_deref().map(Answer::replay) {
                Some(replay) => return replay,
                None => (known, true),
            },
        };
        let intent = Arc::new(intent);
        request.extensions_mut().insert(Ids::of(intent.clone(), resumed));
        let (answer, response) = Answer::read(next.run(request).await).await;
        if let Some(answer) = answer {
            // what was done is done: without the answer, the next try finds it by its ids
            match self.store.answer(&intent, answer).await {
                Ok(true) => {}
                Ok(false) => warn!("an idempotency key expired while its request was answered"),
                Err(error) => warn!(%error, "the answer to an idempotent request could not be kept"),
            }
        }
        Ok(response)
    }
}

impl Answer {
    /// The answer as it is stored, if it is to be kept, and the answer itself.
    async fn read(response: Response) -> (Option<Vec<u8>>, Response) {
        let (head, body) = response.into_parts();
        let passes = matches!(head.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if passes || head.status.is_server_error() {
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
                headers: KEPT.into_iter().filter_map(text).collect(),
                body: body.to_owned(),
            });
        let stored = stored.and_then(|answer| serde_json::to_vec(&answer).ok());
        (stored, Response::from_parts(head, Body::from(body)))
    }

    /// The same answer again.
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
    Problem::new(Slug::TooManyKeys, "no more idempotency keys are remembered; go on without, or wait")
        .limit("idempotency.keys", BOUNDS.count, BOUNDS.count)
        .retry_after(Duration::from_mins(10))
}

/// The turn of a key: whoever has it is alone with it.
#[derive(Debug)]
struct Turn {
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in the line before a key's turn; the last one to leave takes the line away.
#[derive(Debug)]
struct Place {
    turns: Arc<Mutex<HashMap<IntentKey, Arc<tokio::sync::Mutex<()>>>>>,
    key: IntentKey,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.lock.take());
        if turns.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            turns.remove(&self.key);
        }
    }
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

    #[tokio::test(start_paused = true)]
    async fn a_key_has_one_holder_and_leaves_nothing_behind() {
        let store = mgx_store::Embedded::open(
            &tempfile::tempdir().unwrap().path().join("store.db"),
            Timestamp::UNIX_EPOCH,
        );
        let once = Once::new(Arc::new(store.unwrap()));
        let key = IntentKey::of(&[b"key"]);
        let first = once.turn(key).await;
        let waiting = tokio::time::timeout(PATIENCE, once.turn(key)).await;
        assert!(waiting.is_err(), "the second waits, and gives up");
        drop(once.turn(IntentKey::of(&[b"other"])).await);
        assert_eq!(once.turns.lock().unwrap().len(), 1);
        drop(first);
        assert!(once.turns.lock().unwrap().is_empty());
        drop(once.turn(key).await);
        assert!(once.turns.lock().unwrap().is_empty());
    }
}
