//! `/api/workspaces`: the files of a workspace.

mod file_body;
mod file_request;
mod files;
#[cfg(test)]
mod files_tests;

pub(crate) use files::{json_routes, raw_routes};
