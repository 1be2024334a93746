//! Users: the people who sign in.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base::ids::{UserId, Username};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// For ever.
    pub id: UserId,
    /// What they sign in with.
    pub name: Username,
    /// What others are shown.
    pub display_name: String,
    /// The e-mail address. Nobody has verified it.
    pub email: Option<String>,
    /// Which groups they belong to; `admin` is the platform's own.
    pub groups: BTreeSet<String>,
    /// Without one, nobody signs in with a password.
    pub password: Option<PasswordHash>,
    /// Nobody signs in, and no token is given out or renewed.
    pub disabled: bool,
    /// When they were added.
    pub created_at: Timestamp,
    /// When anything of this last changed.
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

    /// A hash that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}
