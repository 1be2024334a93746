//! `/api/workspaces`: the files of a workspace.

mod file_body;
mod file_request;
mod files;

pub(crate) use files::{json_routes, raw_routes};
