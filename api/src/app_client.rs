//! The generated app of a session as a client of the provider: registered with the session, removed with it.

use std::collections::BTreeSet;

use mgx_apps::{AppClient, Session};
use mgx_oauth2::{AdminError, GrantType, NewClient};
use mgx_scheduler::{JobSpec, Kind};

use crate::App;
use crate::problem::{Problem, Slug};

/// What people may let a generated app know of them. Its tokens are for itself: they open nothing here.
const SCOPE: &str = "openid profile email groups";

/// Sees to it that the app of `session` is registered.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn keep(app: &App, session: &Session) -> Result<(), Problem> {
    let AppClient { id, name, secret, redirect_uris, post_logout_redirect_uris } =
        app.identities.client(session);
    let new = NewClient {
        id: Some(id.parse().expect("our ids of apps are client ids")),
        name,
        confidential: true,
        redirect_uris: redirect_uris.into(),
        post_logout_redirect_uris: post_logout_redirect_uris.into(),
        grants: BTreeSet::from([GrantType::AuthorizationCode, GrantType::RefreshToken]),
        scope: SCOPE.parse().expect("plain words are a scope"),
        audience: None,
        first_party: false,
    };
    let kept = app.gate.provider().actor(None).keep_client(new, Some(&secret)).await;
    kept.map_err(|error| match error {
        AdminError::Storage(error) => error.into(),
        other => {
            tracing::error!(error = %other, session = %session.id, "the session's app cannot be registered");
            Problem::new(Slug::Internal, "the session's app cannot be registered")
        }
    })
}

/// The same as a session is made: nothing of it needs the app yet, so it does not fail for it.
pub(crate) async fn begin(app: &App, session: &Session) {
    if keep(app, session).await.is_err() {
        tracing::warn!(session = %session.id, "the session's app is not registered yet; its first dev server does it");
    }
}

/// The same before jobs that are told the app's secret.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn keep_for(
    app: &App,
    session: &Session,
    mut specs: impl Iterator<Item = &JobSpec>,
) -> Result<(), Problem> {
    if specs.any(|spec| spec.kind == Kind::Dev) { keep(app, session).await } else { Ok(()) }
}

/// Forgets the app of a session that is gone, with everything that people have allowed it.
pub(crate) async fn forget(app: &App, session: &Session) {
    let id = app.identities.client(session).id.parse().expect("our ids of apps are client ids");
    match app.gate.provider().actor(None).remove_client(&id).await {
        Ok(()) | Err(AdminError::Unknown(_)) => {}
        Err(error) => {
            tracing::warn!(%error, session = %session.id, "the app of a session that is gone is still registered");
        }
    }
}
