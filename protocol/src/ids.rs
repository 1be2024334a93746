//! Identifiers, which are checked when they are parsed, so that they are safe in paths, labels and queries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One job. UUID version 7 (RFC 9562), so that ids sort by the time of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl JobId {
    /// A new id for a job submitted now.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for JobId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId("a job id is a UUID"))
    }
}

/// The number of an attempt at a job, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The nonce of a runner process: drawn when it starts, and known to it and to the platform alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub Uuid);

impl Nonce {
    /// A new nonce.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for Nonce {
    fn default() -> Self {
        Self::new()
    }
}

/// A text is not a valid identifier; the message says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(&'static str);

/// Declares a type for a checked text identifier.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $valid:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                if $valid(&text) { Ok(Self(text)) } else { Err(InvalidId($rule)) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// One session: one chat, one app, one workspace.
    SessionId, is_name, "a session id is 1 to 64 of A-Z a-z 0-9 _ -, and starts with a letter or digit"
);
text_id!(
    /// One workspace: the directory of an app's code.
    WorkspaceId, is_name, "a workspace id is 1 to 64 of A-Z a-z 0-9 _ -, and starts with a letter or digit"
);
text_id!(
    /// One slot for a container. It is never used twice: the container is named after it, so the engine refuses a second
    /// container for the same attempt.
    SlotId, is_slot, "a slot id is 1 to 64 of a-z 0-9 -, and starts with a letter or digit"
);

impl SlotId {
    /// The slot of one attempt at a job.
    #[must_use]
    pub fn of(job: JobId, attempt: Attempt) -> Self {
        Self(format!("{}-{attempt}", job.0.as_simple()))
    }
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_slot(text: &str) -> bool {
    is_name(text) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_be_paths_or_queries_are_refused() {
        for bad in ["", "../x", "a/b", "a b", "-x", "_x", ".", "é", "a\0", "{\"$gt\":\"\"}", &"x".repeat(65)]
        {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
            assert!(bad.parse::<SlotId>().is_err(), "{bad:?}");
        }
        for good in ["a", "test-session", "A_1", &"x".repeat(64)] {
            assert!(good.parse::<SessionId>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_slot_is_named_after_its_attempt() {
        let job = JobId(Uuid::from_u128(7));
        let slot = SlotId::of(job, Attempt(2));
        assert_eq!(slot.as_str(), "00000000000000000000000000000007-2");
        assert!(slot.as_str().parse::<SlotId>().is_ok());
    }
}
