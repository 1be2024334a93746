//! Forwarding: a process that does not schedule sends requests on to the leader, the process that does.
//!
//! A follower serves event streams itself, from the store that both processes share. It forwards everything else
//! unchanged, so that one process decides. While there is no leader, a follower answers GET and HEAD from the store and
//! refuses the other methods with 503 and `Retry-After`: no request is accepted that no process has stored.

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

use crate::http::problem::{Problem, Slug};

/// Marks a forwarded request, which is not forwarded a second time.
pub(crate) const FORWARDED: HeaderName = HeaderName::from_static("mgx-handed-on");

/// How long the leader may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a connection to the leader may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// `Retry-After` while there is no leader.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The fields that belong to one connection and are not forwarded (RFC 9110 section 7.6.1).
const CONNECTION_FIELDS: [HeaderName; 6] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Sends requests to the leader.
#[derive(Clone, Debug)]
struct LeaderProxy {
    http: reqwest::Client,
    /// The leader's address, such as `http://10.0.0.7:8765`, if there is one.
    leader: watch::Receiver<Option<String>>,
}

/// The router of a follower: `router`, with requests forwarded to the process that `leader` names at the time.
///
/// # Errors
/// The HTTP client cannot be built.
pub fn forward_to_leader(router: Router, leader: watch::Receiver<Option<String>>) -> reqwest::Result<Router> {
    let http = reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(router.layer(from_fn_with_state(Arc::new(LeaderProxy { http, leader }), forward)))
}

/// A router that passes each request to the router that `current` holds at the time.
pub fn serve_current(current: watch::Receiver<Router>) -> Router {
    Router::new().fallback(move |request: Request| {
        let router = current.borrow().clone();
        async move { router.oneshot(request).await }
    })
}

async fn forward(State(proxy): State<Arc<LeaderProxy>>, request: Request, next: Next) -> Response {
    if is_served_here(request.uri().path()) {
        return next.run(request).await;
    }
    if request.headers().contains_key(&FORWARDED) {
        return no_leader("this process does not schedule any more");
    }
    let (parts, body) = request.into_parts();
    let only_reads = [Method::GET, Method::HEAD].contains(&parts.method);
    let answer =
        if only_reads { proxy.ask(&parts, Body::empty()).await } else { proxy.ask(&parts, body).await };
    match answer {
        Ok(answer) => answer,
        Err(_) if only_reads => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(why) => no_leader(why),
    }
}

impl LeaderProxy {
    /// The leader's answer, or why there is none.
    async fn ask(&self, parts: &Parts, body: Body) -> Result<Response, &'static str> {
        let mut leader = self.leader.clone();
        let address = leader.borrow_and_update().clone().ok_or("no process schedules at the moment")?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = self
            .http
            .request(parts.method.clone(), format!("{}{path}", address.trim_end_matches('/')))
            .headers(forwarded_fields(&parts.headers));
        let request = if parts.method == Method::GET {
            request
        } else {
            request.body(reqwest::Body::wrap_stream(body.into_data_stream()))
        };
        let asked = tokio::select! {
            asked = timeout(ANSWER_TIMEOUT, request.send()) => asked,
            // the leader hangs, and another process has taken over
            _ = leader.changed() => {
                return Err("another process schedules now; the request may have been carried out: repeat it with the same Idempotency-Key");
            }
        };
        match asked {
            Ok(Ok(answer)) => Ok(response_of(answer)),
            Ok(Err(error)) if error.is_connect() => Err("the process that schedules does not answer"),
            Ok(Err(_)) | Err(_) => Err(
                "the process that schedules has not answered; the request may have been carried out: repeat it with the same Idempotency-Key",
            ),
        }
    }
}

/// Whether a follower serves this path itself: event streams, and everything outside `/api`.
fn is_served_here(path: &str) -> bool {
    let path = path.strip_prefix("/original").unwrap_or(path);
    let mut parts = path.strip_prefix("/api/sessions/").unwrap_or_default().split('/');
    !path.starts_with("/api/") || (parts.nth(1), parts.next()) == (Some("events"), None)
}

fn forwarded_fields(headers: &HeaderMap) -> HeaderMap {
    let mut headers = without_connection(headers);
    headers.insert(FORWARDED, HeaderValue::from_static("1"));
    headers
}

fn without_connection(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| !CONNECTION_FIELDS.contains(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn response_of(answer: reqwest::Response) -> Response {
    let (status, headers) = (answer.status(), without_connection(answer.headers()));
    (status, headers, Body::from_stream(answer.bytes_stream())).into_response()
}

fn no_leader(why: &'static str) -> Response {
    Problem::new(Slug::NoScheduler, why).retry_after(RETRY_AFTER).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::any;

    /// A router that answers with its name, the method, and whether the request was forwarded.
    fn named(name: &'static str) -> Router {
        Router::new().fallback(any(async move |request: Request| {
            format!("{name} {} {}", request.method(), request.headers().contains_key(&FORWARDED))
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
    async fn the_leader_answers_everything_but_event_streams() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let leader = watch::Sender::new(Some(serving(named("leader")).await));
        let router = forward_to_leader(named("follower"), leader.subscribe()).unwrap();
        assert!(ask(&router, "POST", "/api/sessions").await.contains("leader POST true"));
        assert!(ask(&router, "GET", "/api/jobs?limit=1").await.contains("leader GET true"));
        assert!(ask(&router, "GET", "/api/sessions/a/events").await.contains("follower GET false"));
        assert!(ask(&router, "GET", "/readyz").await.contains("follower GET false"));

        leader.send_replace(Some("http://127.0.0.1:1".to_owned()));
        assert!(
            ask(&router, "GET", "/api/jobs").await.contains("follower GET false"),
            "the follower reads the same store"
        );
        let refused = ask(&router, "POST", "/api/sessions").await;
        assert!(refused.starts_with("503") && refused.contains("no-scheduler"), "{refused}");
        leader.send_replace(None);
        let refused = ask(&router, "DELETE", "/api/sessions/a").await;
        assert!(refused.contains("retry-after: 1") && refused.contains("no-scheduler"), "{refused}");
    }

    #[tokio::test]
    async fn a_request_is_forwarded_once() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (to_second, first_leader) = watch::channel(None);
        let first = serving(forward_to_leader(named("first"), first_leader).unwrap()).await;
        let second = forward_to_leader(named("second"), watch::channel(Some(first)).1).unwrap();
        let second = serving(second).await;
        to_second.send_replace(Some(second.clone()));
        let request =
            reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{second}/api/sessions"));
        assert_eq!(request.send().await.unwrap().status(), 503, "and not in a circle");
    }
}
