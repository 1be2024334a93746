//! `/api/workspaces`: the files of a workspace.

mod entries;
mod file_body;
mod file_request;
mod files;
#[cfg(test)]
mod files_tests;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

pub(crate) use files::raw_routes;

use crate::state::App;

/// The routes that answer in JSON.
pub(crate) fn json_routes() -> OpenApiRouter<Arc<App>> {
    files::json_routes().merge(entries::routes())
}
