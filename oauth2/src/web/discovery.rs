//! Metadata (RFC 8414, OpenID Connect Discovery 1.0), public keys and health.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::answer;
use crate::base::scope::{EMAIL, GROUPS, OFFLINE_ACCESS, OPENID, PROFILE};
use crate::base::signing_algorithm::SigningAlgorithm;
use crate::clients::grant_type::GrantType;
use crate::provider::Provider;

/// The metadata, which is the same for both standards.
pub(super) async fn metadata(State(provider): State<Arc<Provider>>) -> Response {
    public(&describe(&provider))
}

/// The JWK set (RFC 7517).
pub(super) async fn jwks(State(provider): State<Arc<Provider>>) -> Response {
    let jwks = provider.keys.public().jwks(provider.clock.now());
    public(&serde_json::to_value(jwks).unwrap_or_default())
}

/// Whether the provider and its storage respond.
pub(super) async fn health(State(provider): State<Arc<Provider>>) -> Response {
    let (status, word) = match provider.storage.clients(None, 1).await {
        Ok(_) => (StatusCode::OK, "ok"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    answer::json(status, &json!({ "status": word, "service": "mgx-oauth2" }))
}

fn describe(provider: &Provider) -> Value {
    let issuer = &provider.settings.issuer;
    let with_secret = ["client_secret_basic", "client_secret_post"];
    let with_or_without = ["client_secret_basic", "client_secret_post", "none"];
    // the password grant is not announced
    let grants: Vec<&str> = GrantType::ALL
        .into_iter()
        .filter(|grant| *grant != GrantType::Password)
        .map(GrantType::name)
        .collect();
    json!({
        "issuer": issuer.as_str(),
        "authorization_endpoint": issuer.endpoint("authorize"),
        "token_endpoint": issuer.endpoint("token"),
        "jwks_uri": issuer.endpoint("jwks"),
        "userinfo_endpoint": issuer.endpoint("userinfo"),
        "introspection_endpoint": issuer.endpoint("introspect"),
        "revocation_endpoint": issuer.endpoint("revoke"),
        "end_session_endpoint": issuer.endpoint("logout"),
        "device_authorization_endpoint": issuer.endpoint("device_authorization"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": grants,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "token_endpoint_auth_methods_supported": with_or_without,
        "introspection_endpoint_auth_methods_supported": with_secret,
        "revocation_endpoint_auth_methods_supported": with_or_without,
        "dpop_signing_alg_values_supported": ["ES256"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": SigningAlgorithm::ALL.map(SigningAlgorithm::name),
        "scopes_supported": [OPENID, PROFILE, EMAIL, GROUPS, OFFLINE_ACCESS],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid",
            "name", "preferred_username", "updated_at", "email", "email_verified", "groups",
        ],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    })
}

/// A JSON response for any origin, to be cached for five minutes.
fn public(body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, body.to_string()).into_response()
}
