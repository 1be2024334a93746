//! Handing requests on: a process that does not schedule lets the one that does answer, and answers only what it knows
//! as well.
//!
//! Event streams it serves by itself, from the store that both share. Everything else goes to the one that schedules,
//! as it came, so there is one place that decides. While nobody schedules, what only reads is answered from the store,
//! and what would change something is refused with 503 and `Retry-After`: nothing is accepted that nobody has stored.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio::time::timeout;
use tower::ServiceExt;

use super::{Problem, Slug};

/// Says that a request has been handed on once: it is not handed on again.
const HANDED_ON: HeaderName = HeaderName::from_static("mgx-handed-on");

/// How long the other process may take to answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a connection to it may take.
const CONNECT: Duration = Duration::from_secs(1);

/// When to ask again while nobody schedules.
const AGAIN: Duration = Duration::from_secs(1);

/// What belongs to one connection and not to the request (RFC 9110, 7.6.1).
const OF_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The way to the process that schedules.
#[derive(Clone, Debug)]
struct Way {
    http: reqwest::Client,
    /// Its address, such as `http://10.0.0.7:8765`, if there is one.
    leader: watch::Receiver<Option<String>>,
}

/// `router`, which does not schedule, with everything handed on to the process that `leader` names at the time.
///
/// # Errors
/// HTTP cannot be set up.
pub fn handing_on(router: Router, leader: watch::Receiver<Option<String>>) -> reqwest::Result<Router> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(router.layer(from_fn_with_state(Arc::new(Way { http, leader }), hand_on)))
}

/// A router that is whatever `current` holds at the time of a request.
pub fn changing(current: watch::Receiver<Router>) -> Router {
    Router::new().fallback(move |request: Request| {
        let router = current.borrow().clone();
        async move { router.oneshot(request).await }
    })
}

async fn hand_on(State(way): State<Arc<Way>>, request: Request, next: Next) -> Response {
    if is_own(request.uri().path()) {
        return next.run(request).await;
    }
    if request.headers().contains_key(&HANDED_ON) {
        return nobody("this process does not schedule any more");
    }
    let (parts, body) = request.into_parts();
    let only_reads = [Method::GET, Method::HEAD].contains(&parts.method);
    let answer = if only_reads { way.ask(&parts, Body::empty()).await } else { way.ask(&parts, body).await };
    match answer {
        Ok(answer) => answer,
        Err(_) if only_reads => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(why) => nobody(why),
    }
}

impl Way {
    /// The answer of the process that schedules, or why there is none.
    async fn ask(&self, parts: &Parts, body: Body) -> Result<Response, &'static str> {
        let mut leader = self.leader.clone();
        let address = leader.borrow_and_update().clone().ok_or("no process schedules at the moment")?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = self
            .http
            .request(parts.method.clone(), format!("{}{path}", address.trim_end_matches('/')))
            .headers(handed_on(&parts.headers));
        let request = if parts.method == Method::GET {
            request
        } else {
            request.body(reqwest::Body::wrap_stream(body.into_data_stream()))
        };
        let asked = tokio::select! {
            asked = timeout(PATIENCE, request.send()) => asked,
            // it hangs, and another one has taken its place
            _ = leader.changed() => {
                return Err("another process schedules now; it may have been done: ask again with the same Idempotency-Key");
            }
        };
        match asked {
            Ok(Ok(answer)) => Ok(returned(answer)),
            Ok(Err(error)) if error.is_connect() => Err("the process that schedules does not answer"),
            Ok(Err(_)) | Err(_) => Err(
                "the process that schedules has not answered; it may have been done: ask again with the same Idempotency-Key",
            ),
        }
    }
}

/// Whether this process answers such a request by itself: event streams, and what it says about itself.
fn is_own(path: &str) -> bool {
    let mut parts = path.strip_prefix("/api/sessions/").unwrap_or_default().split('/');
    !path.starts_with("/api/") || (parts.nth(1), parts.next()) == (Some("events"), None)
}

fn handed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = without_connection(headers);
    headers.insert(HANDED_ON, HeaderValue::from_static("1"));
    headers
}

fn without_connection(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| !OF_CONNECTION.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn returned(answer: reqwest::Response) -> Response {
    let (status, headers) = (answer.status(), without_connection(answer.headers()));
    (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
}

fn nobody(why: &'static str) -> Response {
    Problem::new(Slug::NoScheduler, why).retry_after(AGAIN).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::any;

    /// The router of a process that answers with its name, the method, and whether it was handed the request on.
    fn named(name: &'static str) -> Router {
        Router::new().fallback(any(async move |request: Request| {
            format!("{name} {} {}", request.method(), request.headers().contains_key(&HANDED_ON))
        }))
    }

    async fn serving(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn ask(router: &Router, method: &str, path: &str) -> String {
        let request = Request::builder().method(method).uri(path).body(Body::from("text")).unwrap();
        crate::testing::show(router.clone().oneshot(request).await.unwrap()).await
    }

    #[tokio::test]
    async fn everything_but_streams_is_answered_by_the_one_that_schedules() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let leader = watch::Sender::new(Some(serving(named("leader")).await));
        let router = handing_on(named("follower"), leader.subscribe()).unwrap();
        assert!(ask(&router, "POST", "/api/sessions").await.contains("leader POST true"));
        assert!(ask(&router, "GET", "/api/jobs?limit=1").await.contains("leader GET true"));
        assert!(ask(&router, "GET", "/api/sessions/a/events").await.contains("follower GET false"));
        assert!(ask(&router, "GET", "/readyz").await.contains("follower GET false"));

        leader.send_replace(Some("http://127.0.0.1:1".to_owned()));
        assert!(
            ask(&router, "GET", "/api/jobs").await.contains("follower GET false"),
            "it reads the same store"
        );
        let refused = ask(&router, "POST", "/api/sessions").await;
        assert!(refused.starts_with("503") && refused.contains("no-scheduler"), "{refused}");
        leader.send_replace(None);
        let refused = ask(&router, "DELETE", "/api/sessions/a").await;
        assert!(refused.contains("retry-after: 1") && refused.contains("no-scheduler"), "{refused}");
    }

    #[tokio::test]
    async fn a_request_is_handed_on_once() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (to_second, first_leader) = watch::channel(None);
        let first = serving(handing_on(named("first"), first_leader).unwrap()).await;
        let second = handing_on(named("second"), watch::channel(Some(first)).1).unwrap();
        let second = serving(second).await;
        to_second.send_replace(Some(second.clone()));
        let request =
            reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{second}/api/sessions"));
        assert_eq!(request.send().await.unwrap().status(), 503, "and not for ever in a circle");
    }
}
