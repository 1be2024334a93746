//! Identifiers of users, clients, grants, browser sessions and tokens.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user: the `sub` of a token. It never changes, unlike the user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

/// A grant: one authorization by a user, with all tokens issued for it. The private claim `gid` of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantId(pub Uuid);

/// A browser session (the `sid` of an id token). Not a secret, unlike the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

/// An access token (its `jti`), or an API token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub Uuid);

/// A client: 1 to 64 of `A-Z a-z 0-9 _ -`, and not a UUID, so that it never equals a [`UserId`] (RFC 9068 section 5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// A user name, entered at sign-in: 1 to 64 of `a-z 0-9 . _ @ -`, beginning with a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username(String);

/// The text breaks the rule for such names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} is {rule}")]
pub struct BadName {
    what: &'static str,
    rule: &'static str,
}

const LONGEST: usize = 64;

impl ClientId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Username {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let fits = (1..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            && Uuid::try_parse(text).is_err();
        let rule = "1 to 64 of A-Z a-z 0-9 _ -, and no UUID";
        if fits { Ok(Self(text.to_owned())) } else { Err(BadName { what: "client id", rule }) }
    }
}

impl FromStr for Username {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=LONGEST).contains(&text.len())
            && text.bytes().next().is_some_and(letter)
            && text.bytes().all(|byte| letter(byte) || matches!(byte, b'.' | b'_' | b'@' | b'-'));
        let rule = "1 to 64 of a-z 0-9 . _ @ -, and begins with a letter or a digit";
        if fits { Ok(Self(text.to_owned())) } else { Err(BadName { what: "user name", rule }) }
    }
}

impl TryFrom<String> for ClientId {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl TryFrom<String> for Username {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_have_plain_characters() {
        for good in ["ann", "a.b@example.org", "7_up", &"x".repeat(64)] {
            assert_eq!(good.parse::<Username>().unwrap().as_str(), good);
        }
        for bad in ["", "Ann", ".a", "a b", "a\0", "ä", "a'--", "$gt", &"x".repeat(65)] {
            assert!(bad.parse::<Username>().is_err(), "{bad:?}");
        }
        for good in ["cli", "App_1-dev"] {
            assert_eq!(good.parse::<ClientId>().unwrap().as_str(), good);
        }
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        for bad in ["", "a b", "../x", "a:b", uuid, &uuid.replace('-', "")] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
    }
}
