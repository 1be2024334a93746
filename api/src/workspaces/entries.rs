//! `GET /api/workspaces/{id}/entries`: the files of a workspace as a tree, in the form of the original API.

use std::sync::Arc;

use axum::extract::State;
use mgx_protocol::WorkspaceId;
use mgx_workspaces::{Entry, FileError, ListQuery, WorkspacePath};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::state::App;

/// The most entries of one tree.
const MAX_ENTRIES: usize = 10_000;

/// Which directory.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TreeQuery {
    /// A directory: its own entries alone. Without it, the whole tree.
    dir: Option<String>,
}

/// The entries of a directory.
#[derive(Debug, Serialize, ToSchema)]
struct Tree {
    entries: Vec<TreeEntry>,
    /// Whether there are more than 10,000, and the others are left out; `/files` has them all, page by page.
    is_cut: bool,
}

/// A file or a directory.
#[derive(Debug, Serialize, ToSchema)]
struct TreeEntry {
    /// The last name of its path.
    name: String,
    /// Its path, relative to the workspace.
    path: String,
    /// Whether it is a directory.
    is_dir: bool,
    /// Its length in bytes; 0 for all but files.
    size: u64,
    /// What is in a directory, if the whole tree was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    children: Option<Vec<TreeEntry>>,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(entries))
}

/// The files of a workspace: with `dir` one directory, without it the whole tree.
#[utoipa::path(
    get, path = "/api/workspaces/{id}/entries", tag = "original",
    params(("id" = String, Path, description = "the workspace"), TreeQuery),
    responses((status = 200, description = "the entries", body = Tree))
)]
async fn entries(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<WorkspaceId>,
    Query(asked): Query<TreeQuery>,
) -> Result<axum::Json<Tree>, Problem> {
    let workspace = app.sessions.workspace(&id, caller.sees()).await?;
    let is_whole = asked.dir.is_none();
    let dir = asked.dir.filter(|dir| !dir.is_empty() && dir != "/" && dir != ".");
    let dir = dir.as_deref().map(WorkspacePath::parse).transpose().map_err(FileError::from)?;
    let depth = if is_whole { ListQuery::MAX_DEPTH } else { 1 };
    let mut query = ListQuery { dir, depth, ..ListQuery::default() };
    let mut found = Vec::new();
    let is_cut = loop {
        let page = workspace.list(query.clone()).await?;
        found.extend(page.entries);
        let Some(next) = page.next else { break false };
        if found.len() >= MAX_ENTRIES {
            break true;
        }
        query.after = Some(WorkspacePath::parse(&next).map_err(FileError::from)?);
    };
    Ok(axum::Json(Tree { entries: tree(&mut found.into_iter().peekable(), "", is_whole), is_cut }))
}

/// The entries below `parent`, of a list in which a directory stands before its own entries.
fn tree(
    list: &mut std::iter::Peekable<std::vec::IntoIter<Entry>>,
    parent: &str,
    is_whole: bool,
) -> Vec<TreeEntry> {
    let mut entries = Vec::new();
    while let Some(entry) = list.next_if(|entry| entry.path.starts_with(parent)) {
        let below = format!("{}/", entry.path);
        let children = (is_whole && entry.is_dir()).then(|| tree(list, &below, is_whole));
        let is_dir = entry.is_dir();
        entries.push(TreeEntry { name: entry.name, path: entry.path, is_dir, size: entry.size, children });
    }
    entries
}
