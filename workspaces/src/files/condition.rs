//! What must hold for a file to be written or deleted.

use crate::error::FileError;
use crate::files::etag::ETag;

/// What must hold for a file to be written or deleted (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such file: `If-None-Match: *`.
    Absent,
    /// There is such a file: `If-Match: *`.
    Exists,
    /// The file is at one of these versions: `If-Match: "…", "…"`.
    Matches(Vec<ETag>),
}

impl Condition {
    /// Compares the condition with the version that is there; `None`: there is no file.
    pub(crate) fn check(&self, current: Option<ETag>) -> Result<(), FileError> {
        let holds = match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Exists => current.is_some(),
            Self::Matches(tags) => current.as_ref().is_some_and(|current| tags.contains(current)),
        };
        if holds { Ok(()) } else { Err(FileError::EtagMismatch { current }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_does_not_hold_names_the_current_version() {
        let tag: ETag = "\"1\"".parse().unwrap();
        let other: ETag = "\"2\"".parse().unwrap();
        assert!(Condition::Matches(vec![other.clone(), tag.clone()]).check(Some(tag.clone())).is_ok());
        assert!(Condition::Absent.check(None).is_ok());
        assert!(Condition::Exists.check(Some(tag.clone())).is_ok());
        for (condition, current) in [
            (Condition::Matches(vec![other]), Some(tag.clone())),
            (Condition::Absent, Some(tag)),
            (Condition::Exists, None),
        ] {
            let FileError::EtagMismatch { current: told } = condition.check(current.clone()).unwrap_err()
            else {
                panic!("{condition:?} is no mismatch")
            };
            assert_eq!(told, current);
        }
    }
}
