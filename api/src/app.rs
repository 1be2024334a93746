//! The router: every route, behind what all requests have in common.

mod idempotency;
mod openapi;
#[cfg(test)]
mod routes_tests;

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use mgx_oauth2::Provider;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::auth::{gate, sign_in};
use crate::http::server::host;
use crate::http::{Problem, Slug, accept, content_encoding, problem_page};
use crate::sessions::original::{self, OriginalShape};
use crate::state::App;
use crate::{accounts, jobs, runtimes, sessions, workspaces};

/// Every route, with those of the OAuth 2 provider if it is in this process, behind authentication and the layers that all
/// requests pass.
pub fn router(app: App) -> Router {
    let (gate, keys) = (app.gate.clone(), app.idempotency.clone());
    let provider = gate.provider().clone();
    let secure = provider.settings().issuer.is_secure();
    let identity = if app.is_provider { mgx_oauth2::router(provider) } else { elsewhere(&provider) };
    let (routes, api) = described();
    let text = axum::body::Bytes::from(api.to_json().expect("the description is plain data"));
    let json = [(header::CONTENT_TYPE, "application/json")];
    let routes = routes
        .merge(sign_in::routes().with_state(gate.clone()))
        .route("/openapi.json", get(async move || (json, text)))
        .merge(problem_page::routes())
        .merge(original::refused())
        .fallback(async || Problem::new(Slug::NotFound, "no such route; see /openapi.json"))
        .method_not_allowed_fallback(async || Problem::new(Slug::MethodNotAllowed, "see the allow header"))
        .route_layer(from_fn_with_state(keys, idempotency::carry_out_once))
        .route_layer(from_fn(content_encoding::refuse))
        .layer(from_fn_with_state(gate, gate::check))
        .with_state(Arc::new(app))
        .merge(identity);
    let original = routes.clone().layer(Extension(OriginalShape));
    with_common_layers(routes.nest(original::PREFIX, original), secure)
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
        .merge(problem_page::routes())
        .fallback(async || {
            Problem::new(Slug::NotFound, "this process is the OAuth 2 provider alone (server.roles)")
        })
        .method_not_allowed_fallback(async || Problem::new(Slug::MethodNotAllowed, "see the allow header"))
        .merge(mgx_oauth2::router(provider));
    with_common_layers(routes, secure)
}

/// Answers under `/oauth2` while the provider is in another process.
fn elsewhere(provider: &Provider) -> Router {
    let place = provider.settings().issuer.as_str();
    let detail = format!("the provider is not in this process (server.roles) but at {place}");
    Router::new().route("/oauth2/{*path}", any(async move || Problem::new(Slug::NotFound, detail)))
}

/// The OpenAPI description of every route: `/openapi.json`.
pub fn description() -> OpenApi {
    described().1
}

fn described() -> (Router<Arc<App>>, OpenApi) {
    let in_json = OpenApiRouter::new()
        .merge(sessions::json_routes())
        .merge(jobs::routes())
        .merge(workspaces::json_routes())
        .merge(runtimes::routes())
        .merge(accounts::routes())
        .route_layer(from_fn(accept::json));
    let (routes, api) = OpenApiRouter::with_openapi(openapi::head())
        .merge(in_json)
        .merge(sessions::raw_routes())
        .merge(workspaces::raw_routes())
        .split_for_parts();
    (routes, openapi::complete(api))
}

/// The layers of every route. The last one sees a request first.
fn with_common_layers(routes: Router, secure: bool) -> Router {
    let id = HeaderName::from_static("x-request-id");
    let header = |name, value| {
        SetResponseHeaderLayer::<HeaderValue>::if_not_present(name, HeaderValue::from_static(value))
    };
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(host::check))
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

/// The fields that are logged about a request; not its query, which may hold an authorization code.
fn span(request: &Request) -> Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
}

/// Answers a request whose handler panicked. The process goes on, and the log has the panic.
#[expect(clippy::needless_pass_by_value, reason = "the layer passes it by value")]
fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("without a text"), "a request panicked");
    Problem::new(Slug::Internal, "the request failed; the server's log says why").into_response()
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
        let answer = app
            .clone()
            .oneshot(Request::get("/bug").header("host", "x").body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert!(answer.headers().contains_key("x-request-id"));
        let text = crate::testing::show(answer).await;
        assert!(text.starts_with("500") && text.contains("\"internal\""), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let answer = app
            .oneshot(Request::get("/fine").header("host", "x").body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}
