//! `/api/admin/users`: add, look, list, change, and give a new password.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mgx_oauth2::{NewUser, User, Username};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::user;
use crate::auth::Caller;
use crate::http::Problem;
use crate::http::extract::{Json, Path, Query, cut, limit};
use crate::state::App;

/// The longest name for people, in characters.
const MAX_NAME: usize = 100;

/// How many groups a user may belong to, and how long a group's name may be.
const MAX_GROUPS: usize = 32;
const MAX_GROUP: usize = 64;

/// A user to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserRequest {
    /// The name that the user signs in with; it cannot be changed. 1 to 64 of `a-z 0-9 . _ @ -`.
    #[schema(value_type = String, example = "anna", pattern = "^[a-z0-9][a-z0-9._@-]{0,63}$")]
    name: String,
    /// The name that other users see; the sign-in name if absent.
    display_name: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// Whether the caller vouches that the address is the user's: the platform verifies none, and tells clients
    /// `email_verified` as it is here.
    #[serde(default)]
    email_verified: bool,
    /// The groups; the members of `admin` are administrators.
    #[serde(default)]
    groups: BTreeSet<String>,
    /// The password, 15 to 128 characters; a random one if absent.
    #[schema(value_type = Option<String>)]
    password: Option<SecretString>,
}

/// A change of a user: absent fields stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    /// The name that other users see.
    #[schema(example = "Anna B.")]
    display_name: Option<String>,
    /// The e-mail address; empty: none. Another address is not verified, unless `email_verified` says so.
    email: Option<String>,
    /// Whether the caller vouches that the address is the user's.
    email_verified: Option<bool>,
    /// The groups. A user who leaves a group is signed out.
    groups: Option<BTreeSet<String>>,
    /// Whether the user is disabled: signed out, unable to sign in, and without valid tokens.
    disabled: Option<bool>,
}

/// The password to give.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordRequest {
    /// The password, 15 to 128 characters; a random one if absent.
    #[schema(value_type = Option<String>, example = "nine red lamps glow")]
    password: Option<SecretString>,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserView {
    /// The `sub` claim of the user's tokens.
    id: Uuid,
    /// The name that the user signs in with.
    name: String,
    /// The name that other users see.
    display_name: String,
    /// The e-mail address.
    email: Option<String>,
    /// Whether an administrator vouches that the address is the user's.
    email_verified: bool,
    /// The groups.
    groups: BTreeSet<String>,
    /// Whether the user may not sign in.
    disabled: bool,
    /// When the user was added.
    created_at: Timestamp,
    /// When the user was last changed.
    updated_at: Timestamp,
    /// The random password: shown this once, and stored only as a hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// A page of users, in the order of their names.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserPage {
    users: Vec<UserView>,
    /// The `cursor` of the next page, if there is one.
    next: Option<String>,
}

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserQuery {
    /// Only after this name: `next` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Username>,
    /// At most so many: 1 to 200.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(add_user, list_users))
        .routes(routes!(look_at_user, change_user))
        .routes(routes!(set_password))
}

/// Add a user.
#[utoipa::path(
    post, path = "/api/admin/users", tag = "accounts", request_body = UserRequest,
    responses((status = 201, description = "added; with the random password, if the request has none", body = UserView,
            headers(("location" = String, description = "the user"))),
        (status = 409, description = "`conflict`: the name is taken"))
)]
async fn add_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(asked): Json<UserRequest>,
) -> Result<Response, Problem> {
    let name: Username = asked.name.parse().map_err(|bad| Problem::invalid("/name", format!("{bad}")))?;
    let display_name = asked.display_name.unwrap_or_else(|| name.to_string());
    check(&display_name, asked.email.as_deref(), &asked.groups)?;
    let email = asked.email.filter(|email| !email.is_empty());
    check_verified(email.as_deref(), asked.email_verified)?;
    let UserRequest { email_verified, groups, password, .. } = asked;
    let new = NewUser { name, display_name, email, email_verified, groups, password };
    let (user, password) = app.gate.administration(&caller).add_user(new).await?;
    let location = format!("/api/admin/users/{}", user.name);
    let view = axum::Json(UserView::of(user).with(password));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], view).into_response())
}

/// Users, in the order of their names.
#[utoipa::path(
    get, path = "/api/admin/users", tag = "accounts", params(UserQuery),
    responses((status = 200, description = "a page of users", body = UserPage))
)]
async fn list_users(
    State(app): State<Arc<App>>,
    Query(query): Query<UserQuery>,
) -> Result<axum::Json<UserPage>, Problem> {
    let limit = limit(query.limit, 50, 200)?;
    let mut users = app.gate.provider().users(query.cursor.as_ref(), limit + 1).await?;
    let next = cut(&mut users, limit, |user| user.name.to_string());
    Ok(axum::Json(UserPage { users: users.into_iter().map(UserView::of).collect(), next }))
}

/// The user with this name.
#[utoipa::path(
    get, path = "/api/admin/users/{name}", tag = "accounts",
    params(("name" = String, Path, description = "the user's name")),
    responses((status = 200, description = "the user", body = UserView))
)]
async fn look_at_user(
    State(app): State<Arc<App>>,
    Path(name): Path<Username>,
) -> Result<axum::Json<UserView>, Problem> {
    Ok(axum::Json(UserView::of(user(&app, &name).await?)))
}

/// Change a user: everything but the name and the password.
#[utoipa::path(
    put, path = "/api/admin/users/{name}", tag = "accounts", request_body = UserChange,
    params(("name" = String, Path, description = "the user's name")),
    responses((status = 200, description = "the user after the change", body = UserView))
)]
async fn change_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<Username>,
    Json(asked): Json<UserChange>,
) -> Result<axum::Json<UserView>, Problem> {
    let before = user(&app, &name).await?;
    let email = asked.email.or_else(|| before.email.clone()).filter(|email| !email.is_empty());
    let still_verified = before.email_verified && email == before.email;
    let after = User {
        display_name: asked.display_name.unwrap_or(before.display_name),
        email_verified: asked.email_verified.unwrap_or(still_verified),
        email,
        groups: asked.groups.unwrap_or(before.groups),
        disabled: asked.disabled.unwrap_or(before.disabled),
        ..before
    };
    check(&after.display_name, after.email.as_deref(), &after.groups)?;
    check_verified(after.email.as_deref(), after.email_verified)?;
    app.gate.administration(&caller).change_user(&after).await?;
    Ok(axum::Json(UserView::of(user(&app, &name).await?)))
}

/// Give a user a new password. The user is signed out everywhere.
#[utoipa::path(
    post, path = "/api/admin/users/{name}/password", tag = "accounts", request_body = PasswordRequest,
    params(("name" = String, Path, description = "the user's name")),
    responses((status = 200, description = "done; with the random password, if the request has none", body = UserView))
)]
async fn set_password(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(name): Path<Username>,
    Json(asked): Json<PasswordRequest>,
) -> Result<axum::Json<UserView>, Problem> {
    let user = user(&app, &name).await?;
    let password = app.gate.administration(&caller).set_password(user.id, asked.password).await?;
    Ok(axum::Json(UserView::of(user).with(password)))
}

/// There is nothing to vouch for without an address.
fn check_verified(email: Option<&str>, verified: bool) -> Result<(), Problem> {
    match email {
        None if verified => Err(Problem::invalid("/email_verified", "there is no address to vouch for")),
        None | Some(_) => Ok(()),
    }
}

/// Names that people are shown are short and on one line.
fn check(display_name: &str, email: Option<&str>, groups: &BTreeSet<String>) -> Result<(), Problem> {
    let shown = |text: &str| text.chars().count() <= MAX_NAME && !text.contains(char::is_control);
    if display_name.is_empty() || !shown(display_name) {
        return Err(Problem::invalid("/display_name", format!("1 to {MAX_NAME} characters on one line")));
    }
    if email.is_some_and(|email| !email.is_empty() && (!shown(email) || !email.contains('@'))) {
        return Err(Problem::invalid("/email", format!("an address of at most {MAX_NAME} characters")));
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let fits = |group: &String| (1..=MAX_GROUP).contains(&group.len()) && group.bytes().all(plain);
    if groups.len() > MAX_GROUPS || !groups.iter().all(fits) {
        let detail = format!("at most {MAX_GROUPS} names of 1 to {MAX_GROUP} of a-z 0-9 _ -");
        return Err(Problem::invalid("/groups", detail));
    }
    Ok(())
}

impl UserView {
    fn of(user: User) -> Self {
        Self {
            id: user.id.0,
            name: user.name.to_string(),
            display_name: user.display_name,
            email: user.email,
            email_verified: user.email_verified,
            groups: user.groups,
            disabled: user.disabled,
            created_at: user.created_at,
            updated_at: user.updated_at,
            password: None,
        }
    }

    /// The same with a random password, to be shown this once.
    fn with(self, random: Option<SecretString>) -> Self {
        Self { password: random.map(|password| password.expose_secret().to_owned()), ..self }
    }
}
