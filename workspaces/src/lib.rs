//! The files of workspaces: confined to their directory, written whole, listed in pages. Knows no jobs and no HTTP.

mod beneath;
mod blocking;
mod condition;
mod entry;
mod error;
mod etag;
mod listing;
mod ownership;
pub mod path;
mod random;
mod removal;
mod root;
mod shared;
mod staged;
mod starter;
mod upload;
mod workspace;
mod workspaces;

pub use condition::Condition;
pub use entry::{Entry, EntryKind, FileView, Listing, Written};
pub use error::FileError;
pub use etag::{ETag, InvalidETag};
pub use listing::ListQuery;
pub use path::{InvalidPath, WorkspacePath};
pub use random::{hex, random_hex};
pub use root::UnsafeRoot;
pub use staged::write_once;
pub use starter::StarterFiles;
pub use upload::Upload;
pub use workspace::Workspace;
pub use workspaces::{Workspaces, WorkspacesConfig};
