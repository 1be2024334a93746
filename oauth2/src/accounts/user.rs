//! Users and the hashes of their passwords.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::{UserId, Username};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id, which never changes.
    pub id: UserId,
    /// The name entered at sign-in.
    pub name: Username,
    /// The name shown to other users and to clients.
    pub display_name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether an administrator vouches that the address is the user's. The provider itself verifies none.
    #[serde(default)]
    pub email_verified: bool,
    /// The groups of the user; the platform's administrators are in [`crate::ADMIN`].
    pub groups: BTreeSet<String>,
    /// The hash of the password; without one, a sign-in with a password fails.
    pub password: Option<PasswordHash>,
    /// Whether the user can neither sign in nor be issued tokens.
    pub disabled: bool,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When the user was last changed.
    pub updated_at: Timestamp,
}

/// The hash of a password, in the PHC string format.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub(crate) String);

impl PasswordHash {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A hash from a storage; not validated.
    pub fn stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}
