//! The files of a workspace: their versions, lists of them, and how they are written.

pub(crate) mod condition;
pub(crate) mod entry;
pub(crate) mod etag;
pub(crate) mod listing;
pub(crate) mod staged;
pub(crate) mod starter;
pub(crate) mod upload;
