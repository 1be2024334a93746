//! The HTTP endpoints and pages of the provider.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, header};

use crate::provider::Provider;

mod answer;
pub(crate) mod caller;
mod cookies;
mod cors;
mod discovery;
mod form;
mod pages;
pub(crate) mod presented_token;
mod token;

/// All endpoints, to be merged into a router at the root of the issuer's origin. They are under `/oauth2`, except for
/// two addresses of the metadata (RFC 8414 section 3.1), and one that leads to the page for a new password.
///
/// The server sets the address of the sender as the extension [`caller::Peer`] or as axum's `ConnectInfo<SocketAddr>`.
pub fn router(provider: Arc<Provider>) -> Router {
    let cors = cors::layer(&provider);
    Router::new()
        .route("/oauth2/authorize", get(pages::authorize::show).post(pages::authorize::decide))
        .route("/oauth2/login", get(pages::login::show).post(pages::login::submit))
        .route("/oauth2/device", get(pages::device::show).post(pages::device::submit))
        .route(pages::PASSWORD_PAGE, get(pages::password::show).post(pages::password::submit))
        .route("/.well-known/change-password", get(pages::password::well_known))
        .route("/oauth2/logout", get(pages::logout::show).post(pages::logout::submit))
        .route("/oauth2/token", post(token::token).layer(cors.clone()))
        .route("/oauth2/introspect", post(token::introspect))
        .route("/oauth2/revoke", post(token::revoke).layer(cors.clone()))
        .route("/oauth2/device_authorization", post(token::device_authorization))
        .route("/oauth2/userinfo", get(token::userinfo).post(token::userinfo).layer(cors))
        .route("/oauth2/jwks", get(discovery::jwks))
        .route("/oauth2/.well-known/jwks.json", get(discovery::jwks))
        .route("/oauth2/.well-known/openid-configuration", get(discovery::metadata))
        .route("/.well-known/openid-configuration/oauth2", get(discovery::metadata))
        .route("/.well-known/oauth-authorization-server/oauth2", get(discovery::metadata))
        .route("/oauth2/health", get(discovery::health))
        .route("/oauth2/style.css", get(style))
        .with_state(provider)
}

/// The style sheet, which is all that the pages load.
async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, include_str!("web/style.css")).into_response()
}
