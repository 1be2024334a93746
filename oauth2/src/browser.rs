//! Browsers in which somebody is signed in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{SessionId, UserId};
use crate::secret::Digest;

/// A browser in which somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserSession {
    /// Its id.
    pub id: SessionId,
    /// Hash of the cookie.
    pub cookie: Digest,
    /// The sign-in that it came of, if it is a session of the platform's pages: it ends with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<SessionId>,
    /// Who.
    pub user: UserId,
    /// When they last showed who they are.
    pub auth_time: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// What the browser calls itself, shortened, so that people know it again.
    pub agent: String,
}
