//! `/api/admin/clients`: register a client, look, list, change it, give it a new secret, remove it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mgx_apps::APP_CLIENT_PREFIX;
use mgx_oauth2::{
    BadAlgorithm, BadScope, Client, ClientChange, ClientId, DEFAULT_SCOPE, GrantType, NewClient, RedirectUri,
    Scope, SigningAlgorithm,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::http::extract::{Json, Path, Query, cut, limit};
use crate::http::{Problem, Slug};
use crate::state::App;

/// How many redirect URIs a client may have of each kind.
const MAX_URIS: usize = 32;

/// A client to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientRequest {
    /// Its id: 1 to 64 of `A-Z a-z 0-9 _ -`; a random one if absent.
    client_id: Option<String>,
    /// The name that users see.
    #[schema(example = "Report builder")]
    name: String,
    /// Whether it gets a secret. A program on a server can keep one; a program in a browser or on a phone cannot.
    #[serde(default)]
    confidential: bool,
    /// The URIs to which the provider may send a browser with an authorization code.
    #[serde(default)]
    redirect_uris: Vec<String>,
    /// The URIs to which the provider may send a browser after it signed out.
    #[serde(default)]
    post_logout_redirect_uris: Vec<String>,
    /// The grant types that it may use: `authorization_code`, `refresh_token`, `client_credentials`, and
    /// `urn:ietf:params:oauth:grant-type:device_code`. The first two, if absent.
    grant_types: Option<BTreeSet<String>>,
    /// The scopes that it may ask for; `openid profile email offline_access`, if absent. Others that it asks for are not
    /// granted.
    #[schema(example = "openid profile read")]
    scope: Option<String>,
    /// The audience of its access tokens: `mgx` for this API; the client itself, if absent.
    audience: Option<String>,
    /// The algorithm that its id tokens are signed with: `RS256` or `ES256`; the first, if absent.
    #[schema(example = "RS256")]
    id_token_signed_response_alg: Option<String>,
}

/// A change of a client: absent fields stay as they are, and a list replaces the one before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientChangeRequest {
    /// The name that users see.
    name: Option<String>,
    /// The URIs to which the provider may send a browser with an authorization code.
    #[schema(example = json!(["https://reports.example/callback"]))]
    redirect_uris: Option<Vec<String>>,
    /// The URIs to which the provider may send a browser after it signed out.
    post_logout_redirect_uris: Option<Vec<String>>,
    /// The grant types that it may use.
    grant_types: Option<BTreeSet<String>>,
    /// The scopes that it may ask for. What is missing in it is missing in its next tokens too.
    scope: Option<String>,
    /// The audience of its access tokens.
    audience: Option<String>,
    /// The algorithm that its id tokens are signed with: `RS256` or `ES256`.
    id_token_signed_response_alg: Option<String>,
}

/// A client as it is registered.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientView {
    /// Its id.
    client_id: String,
    /// The name that users see.
    name: String,
    /// Whether it has a secret.
    confidential: bool,
    /// The URIs to which the provider may send a browser with an authorization code.
    redirect_uris: Vec<String>,
    /// The URIs to which the provider may send a browser after it signed out.
    post_logout_redirect_uris: Vec<String>,
    /// The grant types that it may use.
    grant_types: Vec<&'static str>,
    /// The scopes that it may ask for.
    scope: String,
    /// The audience of its access tokens.
    audience: String,
    /// The algorithm that its id tokens are signed with.
    id_token_signed_response_alg: &'static str,
    /// Whether it is a part of the platform: its users are not asked for their consent.
    first_party: bool,
    /// When it was registered.
    created_at: Timestamp,
    /// The secret: shown this once, and stored as a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// A page of clients, in the order of their ids.
#[derive(Serialize, ToSchema)]
pub(crate) struct ClientPage {
    clients: Vec<ClientView>,
    /// The `cursor` of the next page, if there is one.
    next: Option<String>,
}

/// Which clients.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClientQuery {
    /// Only after this id: `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<ClientId>,
    /// At most so many: 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(add_client, list_clients))
        .routes(routes!(look_at_client, change_client, remove_client))
        .routes(routes!(rotate_client_secret))
}

/// Register an OAuth 2 client: a program that users sign in to, or one that acts for itself.
#[utoipa::path(
    post, path = "/api/admin/clients", tag = "accounts", request_body = ClientRequest,
    responses((status = 201, description = "registered; with its secret, if it has one", body = ClientView,
            headers(("location" = String, description = "the client"))),
        (status = 409, description = "`conflict`: the id is taken"))
)]
async fn add_client(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(asked): Json<ClientRequest>,
) -> Result<Response, Problem> {
    let (client, secret) = app.gate.administration(&caller).add_client(asked.checked()?).await?;
    let location = format!("/api/admin/clients/{}", client.id);
    let shown = secret.map(|secret| secret.expose_secret().to_owned());
    let view = ClientView { client_secret: shown, ..ClientView::of(client) };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(view)).into_response())
}

/// Clients, in the order of their ids.
#[utoipa::path(
    get, path = "/api/admin/clients", tag = "accounts", params(ClientQuery),
    responses((status = 200, description = "a page of clients", body = ClientPage))
)]
async fn list_clients(
    State(app): State<Arc<App>>,
    Query(query): Query<ClientQuery>,
) -> Result<axum::Json<ClientPage>, Problem> {
    let limit = limit(query.limit, 50, 200)?;
    let mut clients = app.gate.provider().clients(query.cursor.as_ref(), limit + 1).await?;
    let next = cut(&mut clients, limit, |client| client.id.to_string());
    Ok(axum::Json(ClientPage { clients: clients.into_iter().map(ClientView::of).collect(), next }))
}

/// A client as it is registered.
#[utoipa::path(
    get, path = "/api/admin/clients/{id}", tag = "accounts",
    params(("id" = String, Path, description = "the client")),
    responses((status = 200, description = "the client", body = ClientView))
)]
async fn look_at_client(
    State(app): State<Arc<App>>,
    Path(id): Path<ClientId>,
) -> Result<axum::Json<ClientView>, Problem> {
    let client = app.gate.provider().client(&id).await?;
    client.map(|client| axum::Json(ClientView::of(client))).ok_or_else(|| Problem::not_found("client"))
}

/// Change a client, which keeps its id, its secret and what it was allowed.
#[utoipa::path(
    patch, path = "/api/admin/clients/{id}", tag = "accounts", request_body = ClientChangeRequest,
    params(("id" = String, Path, description = "the client")),
    responses((status = 200, description = "the client after the change", body = ClientView),
        (status = 409, description = "`conflict`: the platform registers this client itself"))
)]
async fn change_client(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<ClientId>,
    Json(asked): Json<ClientChangeRequest>,
) -> Result<axum::Json<ClientView>, Problem> {
    let change = asked.checked()?;
    let before = app.gate.provider().client(&id).await?.ok_or_else(|| Problem::not_found("client"))?;
    if before.first_party || is_an_apps(&id) {
        return Err(Problem::new(Slug::Conflict, "the platform registers this client itself"));
    }
    let client = app.gate.administration(&caller).change_client(&id, change).await?;
    Ok(axum::Json(ClientView::of(client)))
}

/// Remove a client, with everything that it was allowed.
#[utoipa::path(
    delete, path = "/api/admin/clients/{id}", tag = "accounts",
    params(("id" = String, Path, description = "the client")),
    responses((status = 204, description = "it is gone"))
)]
async fn remove_client(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<ClientId>,
) -> Result<StatusCode, Problem> {
    app.gate.administration(&caller).remove_client(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a client a new secret. The one before goes on counting until the next time.
#[utoipa::path(
    post, path = "/api/admin/clients/{id}/secret", tag = "accounts",
    params(("id" = String, Path, description = "the client")),
    responses((status = 200, description = "the client with its new secret", body = ClientView))
)]
async fn rotate_client_secret(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<ClientId>,
) -> Result<axum::Json<ClientView>, Problem> {
    let secret = app.gate.administration(&caller).rotate_client_secret(&id, true).await?;
    let client = app.gate.provider().client(&id).await?.ok_or_else(|| Problem::not_found("client"))?;
    let shown = Some(secret.expose_secret().to_owned());
    Ok(axum::Json(ClientView { client_secret: shown, ..ClientView::of(client) }))
}

impl ClientRequest {
    fn checked(self) -> Result<NewClient, Problem> {
        let id = self.client_id.map(|id| id.parse()).transpose();
        let id = id.map_err(|bad: mgx_oauth2::BadName| Problem::invalid("/client_id", bad.to_string()))?;
        if id.as_ref().is_some_and(is_an_apps) {
            let detail = format!("ids that begin with {APP_CLIENT_PREFIX} are those of generated apps");
            return Err(Problem::invalid("/client_id", detail));
        }
        let default = [GrantType::AuthorizationCode, GrantType::RefreshToken].into();
        let grants = self.grant_types.map(grants).transpose()?.unwrap_or(default);
        let scope = scope(self.scope.as_deref().unwrap_or(DEFAULT_SCOPE))?;
        let alg = self.id_token_signed_response_alg.as_deref().map(algorithm).transpose()?;
        check_number("/redirect_uris", &self.redirect_uris)?;
        check_number("/post_logout_redirect_uris", &self.post_logout_redirect_uris)?;
        Ok(NewClient {
            id,
            name: self.name,
            confidential: self.confidential,
            redirect_uris: self.redirect_uris,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            grants,
            scope,
            audience: self.audience,
            id_token_alg: alg.unwrap_or_default(),
            first_party: false,
        })
    }
}

impl ClientChangeRequest {
    fn checked(self) -> Result<ClientChange, Problem> {
        for (pointer, uris) in [
            ("/redirect_uris", &self.redirect_uris),
            ("/post_logout_redirect_uris", &self.post_logout_redirect_uris),
        ] {
            uris.as_deref().map_or(Ok(()), |uris| check_number(pointer, uris))?;
        }
        Ok(ClientChange {
            name: self.name,
            redirect_uris: self.redirect_uris,
            post_logout_redirect_uris: self.post_logout_redirect_uris,
            grants: self.grant_types.map(grants).transpose()?,
            scope: self.scope.as_deref().map(scope).transpose()?,
            audience: self.audience,
            id_token_alg: self.id_token_signed_response_alg.as_deref().map(algorithm).transpose()?,
        })
    }
}

/// Whether it is the client of a generated app, which is registered with its session.
fn is_an_apps(id: &ClientId) -> bool {
    id.as_str().starts_with(APP_CLIENT_PREFIX)
}

fn grants(names: BTreeSet<String>) -> Result<BTreeSet<GrantType>, Problem> {
    let grant = |name: String| {
        let grant = GrantType::named(&name).filter(|grant| *grant != GrantType::Password);
        grant.ok_or_else(|| Problem::invalid("/grant_types", format!("{name:?} is none")))
    };
    names.into_iter().map(grant).collect()
}

fn scope(text: &str) -> Result<Scope, Problem> {
    text.parse().map_err(|bad: BadScope| Problem::invalid("/scope", bad.to_string()))
}

fn algorithm(name: &str) -> Result<SigningAlgorithm, Problem> {
    name.parse()
        .map_err(|bad: BadAlgorithm| Problem::invalid("/id_token_signed_response_alg", bad.to_string()))
}

fn check_number(pointer: &'static str, uris: &[String]) -> Result<(), Problem> {
    if uris.len() > MAX_URIS { Err(Problem::invalid(pointer, format!("at most {MAX_URIS}"))) } else { Ok(()) }
}

impl ClientView {
    fn of(client: Client) -> Self {
        let texts = |uris: &[RedirectUri]| uris.iter().map(|uri| uri.as_str().to_owned()).collect();
        Self {
            confidential: !client.is_public(),
            redirect_uris: texts(&client.redirect_uris),
            post_logout_redirect_uris: texts(&client.post_logout_redirect_uris),
            grant_types: client.grants.iter().map(|grant| grant.name()).collect(),
            scope: client.scope.to_string(),
            client_id: client.id.to_string(),
            name: client.name,
            audience: client.audience,
            id_token_signed_response_alg: client.id_token_alg.name(),
            first_party: client.first_party,
            created_at: client.created_at,
            client_secret: None,
        }
    }
}
