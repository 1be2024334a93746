//! What the platform is about: sessions, workspaces, and how a job of each kind is run. Knows no HTTP.

pub mod attempt_token;
pub mod blueprint;
pub mod file;
pub mod path;
pub mod session;
pub mod sessions;
pub mod team;
pub mod workspace;
pub mod workspaces;

pub use attempt_token::{AttemptTokens, TokenKeyError};
pub use blueprint::JobBlueprint;
pub use file::{Condition, ETag, Entry, EntryKind, FileError, FileView, InvalidETag, Listing, Written};
pub use path::{InvalidPath, WorkspacePath};
pub use session::{Framework, Session, SessionError, SessionStore, StoreError, Usage};
pub use sessions::{NewSession, Opened, Sessions};
pub use team::{RoleConfig, TeamConfig, TeamError};
pub use workspace::{ListQuery, Upload, Workspace};
pub use workspaces::{UnsafeRoot, Workspaces};
