//! What an error of the MongoDB driver means for the store.

use std::fmt;

use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};

use crate::error::Failure;

/// The code of the error that a document with this unique key exists.
const DUPLICATE: i32 = 11000;

/// The code of the error that a collection of this name exists.
const NAMESPACE_EXISTS: i32 = 48;

/// The code of the error that the disk is full.
const OUT_OF_DISK_SPACE: i32 = 14031;

/// The codes of the errors that the server has no change streams: `$changeStream` only on replica sets, or no such stage.
const NO_CHANGE_STREAMS: [i32; 2] = [40573, 40324];

/// A document is not what this program stores, or a value cannot be stored.
pub(crate) fn unreadable(reason: impl fmt::Display) -> Failure {
    Failure::Unavailable(format!("a document cannot be read or written: {reason}"))
}

/// The server did not answer in time.
pub(crate) fn timed_out() -> Failure {
    Failure::Unavailable("the MongoDB server does not answer".to_owned())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if code(&error) == Some(OUT_OF_DISK_SPACE) {
            return Self::Full;
        }
        Self::Unavailable(summary(&error))
    }
}

impl From<mongodb::bson::error::Error> for Failure {
    fn from(error: mongodb::bson::error::Error) -> Self {
        unreadable(error)
    }
}

/// Whether a document with this unique key exists already.
pub(crate) fn is_duplicate(error: &Error) -> bool {
    code(error) == Some(DUPLICATE)
}

/// Whether a collection of this name exists already.
pub(crate) fn collection_exists(error: &Error) -> bool {
    code(error) == Some(NAMESPACE_EXISTS)
}

/// Whether the server has no change streams at all.
pub(crate) fn has_no_change_streams(error: &Error) -> bool {
    code(error).is_some_and(|code| NO_CHANGE_STREAMS.contains(&code))
}

/// Whether the whole transaction may be tried again, because it has changed nothing.
pub(crate) fn is_transient(error: &Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

/// Whether the server could not be reached, or the connection was lost.
pub(crate) fn is_unreachable(error: &Error) -> bool {
    matches!(
        &*error.kind,
        ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }
    )
}

/// The message of the driver, without its description of every server that it knows.
pub(crate) fn summary(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } => "no server answers".to_owned(),
        // an enum of the driver, which may get more variants
        other => other.to_string().lines().next().unwrap_or_default().chars().take(300).collect(),
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        ErrorKind::InsertMany(error) => Some(error.write_errors.as_ref()?.first()?.code),
        // an enum of the driver, which may get more variants
        _ => None,
    }
}
