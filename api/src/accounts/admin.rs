//! `/api/admin`: users, clients, browser sessions and the audit log, for administrators only.

mod audit;
mod browsers;
mod clients;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::time::Duration;

use mgx_oauth2::{AdminError, User, Username};
use utoipa_axum::router::OpenApiRouter;

use crate::http::{Problem, Slug};
use crate::state::App;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(users::routes())
        .merge(clients::routes())
        .merge(browsers::routes())
        .merge(audit::routes())
}

/// The user of this name.
pub(crate) async fn user(app: &App, name: &Username) -> Result<User, Problem> {
    let user = app.gate.provider().user_named(name).await?;
    user.ok_or_else(|| Problem::not_found("user"))
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Taken => Self::new(Slug::Conflict, "the name is taken, or was changed meanwhile"),
            AdminError::Unknown("user") => Self::not_found("user"),
            AdminError::Unknown(_) => Self::not_found("client"),
            AdminError::Weak(weakness) => Self::invalid("/password", weakness.to_string()),
            AdminError::Client(bad) => Self::invalid("", bad.to_string()),
            AdminError::Redirect { uri, source } => {
                Self::invalid("/redirect_uris", format!("{uri}: {source}"))
            }
            AdminError::Busy(busy) => {
                Self::new(Slug::TooManySignIns, busy.to_string()).retry_after(Duration::from_secs(1))
            }
            AdminError::Storage(error) => error.into(),
        }
    }
}
