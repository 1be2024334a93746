//! The platform as the HTTP surface sees it, and the router over it.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use mgx_apps::{AppIdentity, Sessions};
use mgx_oauth2::Provider;
use mgx_policies::Admission;
use mgx_scheduler::Scheduler;
use tokio_util::sync::CancellationToken;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::Gate;
use crate::health::EngineProbe;
use crate::idempotency::{self, Once};
use crate::import::Imports;
use crate::job_request::JobRules;
use crate::pools::Pools;
use crate::problem::{Problem, Slug};
use crate::streams::Streams;
use crate::{
    accept, admin, auth, batch, events, explain, export, files, generate, health, import, jobs, me, openapi,
    pools, sessions, sign_in, timeline,
};

/// What the routes are about.
#[derive(Debug)]
pub struct App {
    /// Lets jobs in.
    pub admission: Admission,
    /// Runs them.
    pub scheduler: Scheduler,
    /// The sessions, and their workspaces.
    pub sessions: Sessions,
    /// What their apps are at the provider.
    pub identities: AppIdentity,
    /// Asks the container engine how it is.
    pub engine: EngineProbe,
    /// Asks the warm pools how they are.
    pub pools: Pools,
    /// Lets callers in.
    pub gate: Gate,
    /// Whether this process is the provider for everybody, under `/oauth2`.
    pub is_provider: bool,
    /// What a job gets, and the most it may ask for.
    pub rules: JobRules,
    /// What was asked under an `Idempotency-Key`, and what was answered.
    pub once: Once,
    /// Takes in sessions from elsewhere.
    pub imports: Imports,
    /// The event streams that are open.
    pub streams: Streams,
    /// Cancelled when the server shuts down: ends the event streams.
    pub closing: CancellationToken,
}

/// Every route, those of the OAuth 2 provider too if it is in this process, behind the gate and all that requests have in
/// common.
pub fn router(app: App) -> Router {
    let app = Arc::new(app);
    let provider = app.gate.provider().clone();
    let secure = provider.settings().issuer.is_secure();
    let identity = if app.is_provider { mgx_oauth2::router(provider) } else { elsewhere(&provider) };
    let (routes, api) = described();
    let text = axum::body::Bytes::from(api.to_json().expect("the description is plain data"));
    let json = [(header::CONTENT_TYPE, "application/json")];
    let routes = routes
        .merge(sign_in::routes())
        .route("/openapi.json", get(async move || (json, text)))
        .fallback(async || Problem::new(Slug::NotFound, "no such route; see /openapi.json"))
        .method_not_allowed_fallback(async || Problem::new(Slug::MethodNotAllowed, "see the allow header"))
        .route_layer(from_fn_with_state(app.clone(), idempotency::once))
        .layer(from_fn_with_state(app.clone(), auth::check))
        .with_state(app)
        .merge(identity);
    with_common_layers(routes, secure)
}

/// Every route of a process that is the OAuth 2 provider and nothing else.
pub fn provider_alone(provider: Arc<Provider>) -> Router {
    let secure = provider.settings().issuer.is_secure();
    let ready = {
        let provider = provider.clone();
        async move || provider.users(None, 1).await.map(|_| "ready").map_err(Problem::from)
    };
    let routes = Router::new()
        .route("/healthz", get(async || "alive"))
        .route("/readyz", get(ready))
        .fallback(async || {
            Problem::new(Slug::NotFound, "this process is the OAuth 2 provider alone (server.roles)")
        })
        .method_not_allowed_fallback(async || Problem::new(Slug::MethodNotAllowed, "see the allow header"))
        .merge(mgx_oauth2::router(provider));
    with_common_layers(routes, secure)
}

/// What answers in the place of a provider that is in another process.
fn elsewhere(provider: &Provider) -> Router {
    let place = provider.settings().issuer.as_str();
    let detail = format!("the provider is not in this process (server.roles) but at {place}");
    Router::new().route("/oauth2/{*path}", any(async move || Problem::new(Slug::NotFound, detail)))
}

/// The description of every route: `/openapi.json`.
pub fn description() -> OpenApi {
    described().1
}

fn described() -> (Router<Arc<App>>, OpenApi) {
    let in_json = OpenApiRouter::new()
        .merge(sessions::routes())
        .merge(jobs::routes())
        .merge(batch::routes())
        .merge(timeline::routes())
        .merge(explain::routes())
        .merge(generate::routes())
        .merge(files::json_routes())
        .merge(health::routes())
        .merge(pools::routes())
        .merge(me::routes())
        .merge(admin::routes())
        .merge(import::routes())
        .route_layer(from_fn(accept::json));
    let (routes, api) = OpenApiRouter::with_openapi(openapi::head())
        .merge(in_json)
        .merge(events::routes())
        .merge(export::routes())
        .merge(files::raw_routes())
        .split_for_parts();
    (routes, openapi::complete(api))
}

/// Outermost last: what stands below sees a request first.
fn with_common_layers(routes: Router, secure: bool) -> Router {
    let id = HeaderName::from_static("x-request-id");
    let header = |name, value| {
        SetResponseHeaderLayer::<HeaderValue>::if_not_present(name, HeaderValue::from_static(value))
    };
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        .layer(header(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
        .layer(header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .layer(header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(option_layer(secure.then(|| header(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"))))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION, header::COOKIE]))
        .layer(PropagateRequestIdLayer::new(id.clone()))
        .layer(SetRequestIdLayer::new(id, MakeRequestUuid))
}

/// What is logged about a request. Not its query: codes come in one.
fn span(request: &Request) -> Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
}

/// A bug of ours: the request is answered, the process goes on, the operator finds the panic in the log.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("without a text"), "a request panicked");
    Problem::new(Slug::Internal, "the request failed here; the log says why").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_panic_is_one_failed_request_and_no_more() {
        let routes = Router::new()
            .route("/bug", get(async || -> &'static str { panic!("secret detail") }))
            .route("/fine", get(async || "fine"));
        let app = with_common_layers(routes, false);
        let answer = app.clone().oneshot(Request::get("/bug").body(Body::empty()).unwrap()).await.unwrap();
        assert!(answer.headers().contains_key("x-request-id"));
        let text = crate::testing::show(answer).await;
        assert!(text.starts_with("500") && text.contains("\"internal\""), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let answer = app.oneshot(Request::get("/fine").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
}
