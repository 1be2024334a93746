//! Why an operation on a file was refused or failed.

use std::io;

use rustix::io::Errno;

use crate::files::etag::ETag;
use crate::path::InvalidPath;

/// Why an operation on a file was refused or failed. Nothing has been changed then.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The text is no path.
    #[error(transparent)]
    InvalidPath(#[from] InvalidPath),
    /// The path leads out of the workspace, or through links that lead in circles.
    #[error("the path leads out of the workspace")]
    Escape,
    /// There is no file of this path.
    #[error("no such file")]
    NotFound,
    /// It is not a regular file: a directory, FIFO, socket, device or link, or a file with a second name (hard link).
    #[error("not a regular file")]
    NotRegular,
    /// A name on the path is not a directory, or the path itself is not where a directory is needed.
    #[error("not a directory")]
    NotDirectory,
    /// The condition does not hold.
    #[error("the file is not at the expected version")]
    EtagMismatch {
        /// The current version, if there is a file.
        current: Option<ETag>,
    },
    /// The file is larger than the limit.
    #[error("the file has more than {limit} bytes")]
    TooLarge {
        /// Bytes that a file may have.
        limit: u64,
    },
    /// The disk, or the quota on it, is full.
    #[error("the workspace is full")]
    Full,
    /// Another error of the file system, for the operator.
    #[error("the file system failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::from(errno),
            None => Self::Io(error),
        }
    }
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::NotFound,
            // the two errors of openat2(2) for a path that leaves its directory
            Errno::XDEV | Errno::LOOP => Self::Escape,
            Errno::NOTDIR => Self::NotDirectory,
            // a directory opened for writing; a socket or device without a driver opened at all
            Errno::ISDIR | Errno::NXIO | Errno::NODEV => Self::NotRegular,
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            Errno::NAMETOOLONG => Self::InvalidPath(InvalidPath::LongName),
            other => Self::Io(other.into()),
        }
    }
}
