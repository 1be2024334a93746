//! Scopes: what an access token permits (RFC 6749 section 3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of scope values, in alphabetical order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(BTreeSet<String>);

/// The text is not a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is at most 32 words of printable ASCII, 1024 bytes in all")]
pub struct BadScope;

/// Requests an id token and access to userinfo (OpenID Connect Core section 3.1.2.1).
pub(crate) const OPENID: &str = "openid";
/// Permits the user's name and user name.
pub(crate) const PROFILE: &str = "profile";
/// Permits the user's e-mail address.
pub(crate) const EMAIL: &str = "email";
/// Permits the user's groups.
pub(crate) const GROUPS: &str = "groups";

/// Permits a refresh token (OpenID Connect Core section 11). Here a client gets one if it has the grant type, and asks
/// for this scope because it does so everywhere.
pub(crate) const OFFLINE_ACCESS: &str = "offline_access";

/// The scope of a client that is registered without one: what clients ask for as they come.
pub const DEFAULT_SCOPE: &str = "openid profile email offline_access";

const MOST_BYTES: usize = 1024;
const MOST_WORDS: usize = 32;

impl Scope {
    /// Whether the scope contains `word`.
    pub fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// Whether the scope is a subset of `other`.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scope values.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there is no value in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values that are in both scopes.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The union of both scopes.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).cloned().collect())
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let fits = text.len() <= MOST_BYTES
            && words.len() <= MOST_WORDS
            && words.iter().all(|word| word.bytes().all(plain));
        if fits { Ok(Self(words.into_iter().map(str::to_owned).collect())) } else { Err(BadScope) }
    }
}

impl TryFrom<String> for Scope {
    type Error = BadScope;

    fn try_from(text: String) -> Result<Self, BadScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{word}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_set_of_values() {
        let scope: Scope = "profile openid  openid".parse().unwrap();
        assert_eq!(scope.to_string(), "openid profile");
        assert!(scope.has(OPENID) && !scope.has("open"));
        assert!("openid".parse::<Scope>().unwrap().is_within(&scope));
        assert!(!"openid x".parse::<Scope>().unwrap().is_within(&scope));
        assert_eq!("".parse::<Scope>().unwrap(), Scope::default());
        for bad in ["a\"", "a\\", "a\tb", "ä", "a\0", &"x".repeat(1025), &"x ".repeat(33)] {
            assert_eq!(bad.parse::<Scope>(), Err(BadScope), "{bad:?}");
        }
    }
}
