//! What can go wrong with a MongoDB server, sorted by who can do something about it.

use std::fmt;

use mgx_apps::StoreError;
use mgx_scheduler::JournalError;
use mongodb::error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};

/// The code of an error that says that something of this unique name is there.
const DUPLICATE: i32 = 11000;

/// The code of an error that says that a collection of this name is there.
const NAMESPACE_EXISTS: i32 = 48;

/// The code of an error that says that the disk is full.
const OUT_OF_DISK_SPACE: i32 = 14031;

/// Why a store on a MongoDB server could not be opened. The operator reads this and acts.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none.
    #[error("store.url is no address of a MongoDB server: {0}")]
    Address(String),
    /// The server does not answer, or refuses.
    #[error("the MongoDB server at {hosts} cannot be used: {reason}")]
    Unreachable {
        /// Where it was looked for.
        hosts: String,
        /// What the driver says.
        reason: String,
    },
    /// It is a single server without a replica set.
    #[error(
        "the MongoDB server at {0} has no transactions: make it a replica set, if only of one (--replSet, then rs.initiate())"
    )]
    NoTransactions(String),
    /// A newer version of the platform has written it.
    #[error(
        "the database {database} has schema {found}, and this version of mgx knows schemas up to {supported}: start the newer version"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its schema.
        found: u64,
        /// The newest schema that this binary knows.
        supported: u64,
    },
    /// It holds collections of these names, but not ours.
    #[error("the database {0} belongs to another program: name another one in store.database")]
    Foreign(String),
    /// A migration into it was not finished.
    #[error("a migration into the database {0} was not finished: run it again, and it begins anew")]
    HalfMigrated(String),
}

/// Why the open store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No space on the server.
    Full,
    /// It did not work this time.
    Unavailable(String),
}

impl Fault {
    /// What is stored is not what this program stores.
    pub(super) fn unreadable(why: impl fmt::Display) -> Self {
        Self::Unavailable(format!("a document cannot be read or written: {why}"))
    }

    /// The server did not answer in time.
    pub(super) fn late() -> Self {
        Self::Unavailable("the MongoDB server does not answer".to_owned())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        if code(&error) == Some(OUT_OF_DISK_SPACE) {
            return Self::Full;
        }
        Self::Unavailable(short(&error))
    }
}

impl From<Fault> for JournalError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// Whether something of this unique name is there already.
pub(super) fn is_duplicate(error: &Error) -> bool {
    code(error) == Some(DUPLICATE)
}

/// Whether a collection of this name is there already.
pub(super) fn is_there(error: &Error) -> bool {
    code(error) == Some(NAMESPACE_EXISTS)
}

/// Whether the whole transaction may be tried again, for it has changed nothing.
pub(super) fn is_transient(error: &Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR)
}

/// Whether the server could not be reached, or was lost on the way.
pub(super) fn is_away(error: &Error) -> bool {
    matches!(
        &*error.kind,
        ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }
    )
}

/// What the driver says, without what it says of every server it knows.
pub(super) fn short(error: &Error) -> String {
    match &*error.kind {
        ErrorKind::ServerSelection { .. } => "no server answers".to_owned(),
        // the driver's, and it adds to them
        other => other.to_string().lines().next().unwrap_or_default().chars().take(300).collect(),
    }
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        ErrorKind::InsertMany(error) => Some(error.write_errors.as_ref()?.first()?.code),
        // the driver's, and it adds to them
        _ => None,
    }
}
