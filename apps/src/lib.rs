//! What the platform is about: sessions, and what a job of each kind is given. Knows no HTTP.

mod conversation;
mod framework;
mod idempotency;
mod identity;
mod jobs;
mod sessions;
mod store_error;

pub use conversation::message_of;
pub use framework::{Framework, UnknownFramework};
pub use idempotency::intent::{Intent, IntentKey};
pub use idempotency::intent_store::{IntentBounds, IntentStore, Recorded};
pub use idempotency::{Begun, Idempotency, IdempotencyError, KeyLock};
pub use identity::app_identity::{APP_CLIENT_PREFIX, AppClient, AppIdentity};
pub use identity::attempt_token::AttemptTokens;
pub use identity::key_file::TokenKeyError;
pub use jobs::blueprint::JobBlueprint;
pub use jobs::isolation::Isolation;
pub use jobs::team::{Language, RoleConfig, TeamConfig, TeamError};
pub use sessions::archive::{Archive, ArchivedSession, Trimmed};
pub use sessions::retention::Retention;
pub use sessions::session::{Session, Usage};
pub use sessions::session_store::{MessagePage, SessionStore};
pub use sessions::{NewSession, Opened, SessionError, Sessions};
pub use store_error::StoreError;
