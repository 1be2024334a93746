//! The files of workspaces: confined to their directory, written whole, listed in pages. Knows no jobs and no HTTP.

mod blocking;
mod confinement;
mod error;
mod files;
mod name;
mod ownership;
pub mod path;
mod random;
mod shared;
mod workspace;
mod workspaces;

pub use confinement::root::UnsafeRoot;
pub use error::FileError;
pub use files::condition::Condition;
pub use files::entry::{Entry, EntryKind, FileView, Listing, Written};
pub use files::etag::{ETag, InvalidETag};
pub use files::listing::ListQuery;
pub use files::staged::write_once;
pub use files::starter::StarterFiles;
pub use files::upload::Upload;
pub use path::{InvalidPath, WorkspacePath};
pub use random::{hex, random_hex};
pub use workspace::Workspace;
pub use workspaces::{Workspaces, WorkspacesConfig};
