//! What the platform is about: sessions, workspaces, and how a job of each kind is run. Knows no HTTP.

pub mod session;

pub use session::{Framework, Session, SessionError, SessionStore, StoreError, Usage};
