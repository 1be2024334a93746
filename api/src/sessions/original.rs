//! The original platform's API, as its own client calls it: docs/compatibility.md.
//!
//! Routes that this API does not have otherwise are at the same place. Where both have a route and answer in different
//! shapes, the original's shape is at the same path under `/original`, the address that such a client is built with.

mod agent;
#[cfg(test)]
mod client_tests;
mod shapes;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::any;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use shapes::{OriginalShape, session_list, session_or_view};

use crate::http::{Problem, Slug};
use crate::state::App;

/// The prefix under which every route answers in the original's shapes.
pub(crate) const PREFIX: &str = "/original";

/// The routes that answer in JSON.
pub(super) fn json_routes() -> OpenApiRouter<Arc<App>> {
    agent::json_routes()
}

/// The routes that answer with a stream.
pub(super) fn raw_routes() -> OpenApiRouter<Arc<App>> {
    agent::raw_routes()
}

/// What the original's client asks for and this platform does not have.
pub(crate) fn refused() -> Router<Arc<App>> {
    let refusal = async |Path((_, what)): Path<(String, String)>| {
        let detail = match what.split('/').next().unwrap_or_default() {
            "dev" => "apps have no development server here; the files are at /api/workspaces/{id}/files",
            "prod" => "apps are not deployed from here",
            "logs" => "apps do not run here, so they have no logs; those of jobs are their events",
            "database" => "apps have no database here",
            _ => "no such route; see /openapi.json",
        };
        Problem::new(Slug::NotFound, detail)
    };
    Router::new().route("/api/apps/{id}/{*what}", any(refusal))
}
