//! Browser sessions: a browser in which a user is signed in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounts::user::User;
use crate::base::digest::Digest;
use crate::base::ids::{SessionId, UserId};

/// A session of the provider's pages (the user signed in with a password), or of the platform's pages (opened by an
/// authorization code that came of such a sign-in).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserSession {
    /// Its id, the `sid` of an id token.
    pub id: SessionId,
    /// Hash of the cookie.
    pub cookie: Digest,
    /// For a session of the platform's pages: the sign-in at the provider with which it ends. Otherwise none.
    #[serde(rename = "of", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// The user who is signed in.
    pub user: UserId,
    /// When the user last entered the password.
    pub auth_time: Timestamp,
    /// When the session ends by itself.
    pub expires_at: Timestamp,
    /// The browser's `User-Agent`, shortened, by which the user recognises the browser in a list.
    pub agent: String,
}

/// A user in a browser with a valid session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The session.
    pub session: BrowserSession,
    /// The user, who is not disabled.
    pub user: User,
}

/// The longest stored `User-Agent`, in characters.
const MAX_AGENT_CHARS: usize = 200;

impl BrowserSession {
    /// What is stored of a `User-Agent` header: no control characters, and at most [`MAX_AGENT_CHARS`].
    pub(crate) fn shorten_agent(agent: &str) -> String {
        agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_stored_form_has_its_names() {
        let session = BrowserSession {
            id: SessionId(Uuid::nil()),
            cookie: Digest([0; 32]),
            parent: Some(SessionId(Uuid::nil())),
            user: UserId(Uuid::nil()),
            auth_time: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            agent: "A browser".to_owned(),
        };
        let (nil, epoch) = (Uuid::nil().to_string(), "1970-01-01T00:00:00Z");
        let json = serde_json::json!({
            "id": nil, "cookie": "A".repeat(43), "of": nil, "user": nil,
            "auth_time": epoch, "expires_at": epoch, "agent": "A browser",
        });
        assert_eq!(serde_json::to_value(&session).unwrap(), json);
        assert_eq!(serde_json::from_value::<BrowserSession>(json).unwrap(), session);
    }
}
