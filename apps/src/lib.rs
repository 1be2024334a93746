//! What the platform is about: sessions, workspaces, and how a job of each kind is run. Knows no HTTP.

pub mod app_identity;
pub mod archive;
pub mod attempt_token;
mod beneath;
pub mod blueprint;
mod claim;
pub mod file;
pub mod intent;
pub mod listing;
pub mod path;
mod removal;
pub mod retention;
pub mod session;
pub mod sessions;
mod staged;
mod starter;
pub mod team;
pub mod upload;
pub mod workspace;
pub mod workspaces;

pub use app_identity::{APP_CLIENT_PREFIX, AppClient, AppIdentity};
pub use archive::{Archive, Record, Trimmed};
pub use attempt_token::{AttemptTokens, TokenKeyError};
pub use blueprint::{Isolation, JobBlueprint};
pub use file::{Condition, ETag, Entry, EntryKind, FileError, FileView, InvalidETag, Listing, Written};
pub use intent::{Claim, Intent, IntentBounds, IntentKey, IntentStore};
pub use listing::ListQuery;
pub use path::{InvalidPath, WorkspacePath};
pub use retention::Retention;
pub use session::{Framework, Session, SessionError, SessionStore, StoreError, Usage};
pub use sessions::{NewSession, Opened, Sessions};
pub use team::{RoleConfig, TeamConfig, TeamError};
pub use upload::Upload;
pub use workspace::Workspace;
pub use workspaces::{UnsafeRoot, Workspaces, WorkspacesConfig};
