//! What the tools do with the files of the workspace.

pub(crate) mod edit;
pub(crate) mod search;
pub(crate) mod workspace;
