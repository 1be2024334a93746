//! The generated app of a session as an OAuth 2 client of the provider: registered with the session, removed with it.

use std::collections::BTreeSet;

use mgx_apps::{AppClient, AppIdentity, Session};
use mgx_oauth2::{AdminError, GrantType, NewClient, Provider, SigningAlgorithm};
use mgx_scheduler::{JobSpec, Kind};

use crate::http::{Problem, Slug};

/// What a user can consent to disclose to a generated app. The app's tokens are for the app: the API accepts none.
const SCOPE: &str = "openid profile email groups offline_access";

/// Registers and removes the generated apps of sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppClients<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) identities: &'a AppIdentity,
}

impl AppClients<'_> {
    /// Registers the app of `session`, unless it is registered as it should be.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn register(self, session: &Session) -> Result<(), Problem> {
        let AppClient { id, name, secret, redirect_uris, post_logout_redirect_uris } =
            self.identities.client(session);
        let new = NewClient {
            id: Some(id.parse().expect("our ids of apps are client ids")),
            name,
            confidential: true,
            redirect_uris: redirect_uris.into(),
            post_logout_redirect_uris: post_logout_redirect_uris.into(),
            grants: BTreeSet::from([GrantType::AuthorizationCode, GrantType::RefreshToken]),
            scope: SCOPE.parse().expect("plain words are a scope"),
            audience: None,
            id_token_alg: SigningAlgorithm::default(),
            first_party: false,
        };
        let kept = self.provider.administration(None).ensure_client(new, Some(&secret)).await;
        kept.map_err(|error| match error {
            AdminError::Storage(error) => error.into(),
            other => {
                tracing::error!(error = %other, session = %session.id, "the session's app cannot be registered");
                Problem::new(Slug::Internal, "the session's app cannot be registered")
            }
        })
    }

    /// Registers the app of a new session. The session needs no app yet, so its creation does not fail for this.
    pub(crate) async fn register_if_possible(self, session: &Session) {
        if self.register(session).await.is_err() {
            tracing::warn!(session = %session.id, "the session's app is not registered yet; its first dev server does it");
        }
    }

    /// Registers the app of `session` if one of `specs` is a dev server, which gets the app's secret.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn register_for(
        self,
        session: &Session,
        mut specs: impl Iterator<Item = &JobSpec>,
    ) -> Result<(), Problem> {
        if specs.any(|spec| spec.kind == Kind::Dev) { self.register(session).await } else { Ok(()) }
    }

    /// Removes the app of a deleted session, and every consent that users gave it.
    pub(crate) async fn remove(self, session: &Session) {
        let id = self.identities.client(session).id.parse().expect("our ids of apps are client ids");
        match self.provider.administration(None).remove_client(&id).await {
            Ok(()) | Err(AdminError::Unknown(_)) => {}
            Err(error) => {
                tracing::warn!(%error, session = %session.id, "the app of a deleted session is still registered");
            }
        }
    }
}
