//! Accounts and their tokens: `/api/me`, `/api/tokens` for the caller, `/api/admin` for administrators.

mod admin;
mod me;
#[cfg(test)]
mod password_tests;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::state::App;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(admin::routes()).merge(me::routes())
}
