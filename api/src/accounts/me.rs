//! `/api/me` and `/api/tokens`: the caller, the caller's password and API tokens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mgx_oauth2::{
    ApiToken, ApiTokenError, PasswordChange, PasswordChangeError, Scope, StorageError, TokenId, User,
    Username,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::admin;
use crate::auth::credential::Credential;
use crate::auth::{Caller, Right};
use crate::http::extract::{Json, Path, Query};
use crate::http::problem::{FieldError, Problem, Slug};
use crate::state::App;

/// The caller: the user or client that sent the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// The name of the user or client, which owns what it makes.
    user: String,
    /// The scopes of the token.
    scopes: Vec<&'static str>,
    /// Whether the caller sees the resources of all users.
    is_admin: bool,
}

/// The caller's password, and the one that is to replace it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChangeRequest {
    /// The password that the caller has.
    #[schema(value_type = String, example = "correct horse battery")]
    current_password: SecretString,
    /// The password that the caller wants, 15 to 128 characters.
    #[schema(value_type = String, example = "nine red lamps glow")]
    password: SecretString,
}

/// An API token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// The name of the token, 1 to 100 characters.
    #[schema(example = "nightly build", min_length = 1, max_length = 100)]
    name: String,
    /// Its scopes, out of `read`, `write` and `admin`: no more than the scopes of the token that makes this request.
    #[schema(example = "read write")]
    scope: String,
    /// When it expires; without this field, never.
    expires_at: Option<Timestamp>,
}

/// An API token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenView {
    /// Its id.
    id: Uuid,
    /// Its name.
    name: String,
    /// Its scopes.
    scope: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it expires, if it does.
    expires_at: Option<Timestamp>,
    /// The token itself: shown this once, and stored as a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// The API tokens of a user, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenView>,
}

/// The owner of the tokens.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TokenOwner {
    /// The name of the user, for administrators; the caller, if absent.
    user: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(change_password))
        .routes(routes!(make_token, list_tokens))
        .routes(routes!(revoke_token))
}

/// The caller, and the scopes of the caller's token.
#[utoipa::path(
    get, path = "/api/me", tag = "accounts",
    responses((status = 200, description = "the caller", body = Me))
)]
async fn me(caller: Caller) -> axum::Json<Me> {
    let rights = caller.rights();
    let scopes = Right::ALL.into_iter().filter(|right| rights.has(*right)).map(Right::name).collect();
    axum::Json(Me { user: caller.user().to_owned(), scopes, is_admin: caller.is_admin() })
}

/// Change the caller's own password. The user is signed out everywhere but in the browser that sends the request, and
/// what applications were granted is revoked; API tokens stay valid.
#[utoipa::path(
    post, path = "/api/me/password", tag = "accounts", request_body = PasswordChangeRequest,
    responses((status = 204, description = "done"),
        (status = 422, description = "`validation`: the current password is wrong, or the new one breaks a rule"),
        (status = 429, description = "`too-many-sign-ins`: too many wrong passwords"))
)]
async fn change_password(
    State(app): State<Arc<App>>,
    caller: Caller,
    extensions: Extensions,
    Json(asked): Json<PasswordChangeRequest>,
) -> Result<StatusCode, Problem> {
    let user = owner(&app, &caller, &TokenOwner { user: None }).await?;
    let provider = app.gate.provider();
    let session = match extensions.get::<Credential>() {
        Some(Credential::Cookie(cookie)) => {
            let pages = provider.pages_session(cookie.expose_secret()).await?;
            pages.and_then(|pages| pages.session.parent)
        }
        Some(Credential::Admin | Credential::ApiToken(_) | Credential::Access(_)) | None => None,
    };
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let change = PasswordChange { current: asked.current_password, new: asked.password, session };
    provider.change_password(&user, change, peer).await.map_err(|error| match error {
        PasswordChangeError::Wrong => {
            Problem::invalid("/current_password", "this is not the caller's current password")
        }
        PasswordChangeError::Weak(weakness) => Problem::invalid("/password", weakness.to_string()),
        PasswordChangeError::Throttled(wait) => {
            let wait = wait.try_into().unwrap_or(Duration::from_secs(1));
            Problem::new(Slug::TooManySignIns, "too many wrong passwords").retry_after(wait)
        }
        PasswordChangeError::Unavailable(error) => StorageError::Unavailable(error.to_string()).into(),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make an API token: for a program that acts for a user, instead of the user's password.
#[utoipa::path(
    post, path = "/api/tokens", tag = "accounts", request_body = TokenRequest, params(TokenOwner),
    responses((status = 201, description = "made; the token is shown this once", body = TokenView,
            headers(("location" = String, description = "the token"))),
        (status = 409, description = "`conflict`: the user has too many"))
)]
async fn make_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(of): Query<TokenOwner>,
    Json(asked): Json<TokenRequest>,
) -> Result<Response, Problem> {
    let user = owner(&app, &caller, &of).await?;
    let scope = scope(&asked.scope, &caller)?;
    if asked.expires_at.is_some_and(|end| end <= Timestamp::now()) {
        return Err(Problem::invalid("/expires_at", "a time that is still to come"));
    }
    let made =
        app.gate.administration(&caller).add_api_token(user.id, &asked.name, scope, asked.expires_at).await;
    let (token, text) = made.map_err(|error| match error {
        ApiTokenError::TooMany => Problem::new(Slug::Conflict, error.to_string()),
        ApiTokenError::Name => Problem::invalid("/name", error.to_string()),
        ApiTokenError::Storage(error) => error.into(),
    })?;
    let location = format!("/api/tokens/{}", token.id.0);
    let view = TokenView { token: Some(text.expose_secret().to_owned()), ..TokenView::of(token) };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(view)).into_response())
}

/// API tokens, newest first.
#[utoipa::path(
    get, path = "/api/tokens", tag = "accounts", params(TokenOwner),
    responses((status = 200, description = "the tokens, without their secrets", body = TokenList))
)]
async fn list_tokens(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(of): Query<TokenOwner>,
) -> Result<axum::Json<TokenList>, Problem> {
    let user = owner(&app, &caller, &of).await?;
    let tokens = app.gate.provider().api_tokens_of(user.id).await?;
    Ok(axum::Json(TokenList { tokens: tokens.into_iter().map(TokenView::of).collect() }))
}

/// Revoke an API token: it is refused from now on.
#[utoipa::path(
    delete, path = "/api/tokens/{id}", tag = "accounts",
    params(("id" = Uuid, Path, description = "the token"), TokenOwner),
    responses((status = 204, description = "it is gone"))
)]
async fn revoke_token(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(of): Query<TokenOwner>,
) -> Result<StatusCode, Problem> {
    let user = owner(&app, &caller, &of).await?;
    if app.gate.administration(&caller).remove_api_token(user.id, TokenId(id)).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("token"))
}

/// The user that owns the tokens. A client that acts for itself is no user.
async fn owner(app: &App, caller: &Caller, of: &TokenOwner) -> Result<User, Problem> {
    let name = of.user.as_deref().unwrap_or(caller.user());
    if caller.sees().is_some_and(|own| own != name) {
        return Err(Problem::not_found("user"));
    }
    let name: Username = name.parse().map_err(|_| Problem::not_found("user"))?;
    admin::user(app, &name).await
}

/// A scope of `read`, `write` and `admin`, and no more than the caller has.
fn scope(text: &str, caller: &Caller) -> Result<Scope, Problem> {
    let scope: Scope = text.parse().map_err(|bad| Problem::invalid("/scope", format!("{bad}")))?;
    let known = |word: &str| Right::ALL.into_iter().find(|right| right.name() == word);
    let wrong = scope.words().find(|word| !known(word).is_some_and(|right| caller.rights().has(right)));
    match wrong {
        Some(word) => {
            let error =
                FieldError::at("/scope", format!("{word:?} is no scope, or more than this token has"));
            Err(Problem::validation(vec![error]))
        }
        None if scope.words().next().is_none() => Err(Problem::invalid("/scope", "at least one of them")),
        None => Ok(scope),
    }
}

impl TokenView {
    fn of(token: ApiToken) -> Self {
        let ApiToken { id, digest: _, user: _, name, scope, created_at, expires_at } = token;
        Self { id: id.0, name, scope: scope.to_string(), created_at, expires_at, token: None }
    }
}
