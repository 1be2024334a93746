//! The error of a runtime: a kind for the caller to act upon, a message and a cause for people.

use std::error::Error;
use std::fmt;

use crate::engine::connect_fault::ConnectFault;

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeErrorKind {
    /// The image does not exist. The operator builds it (`mgx images`).
    ImageMissing,
    /// The engine does not know the OCI runtime that was asked for. The operator installs and registers it, or asks
    /// for another.
    OciRuntimeMissing,
    /// The engine cannot be reached. The caller waits and tries again.
    Unavailable,
    /// The engine did not answer in time. The request may have been carried out all the same.
    Deadline,
    /// A container of this slot exists already.
    Conflict,
    /// The container was made, but its runner did not connect.
    NotReady,
    /// No container of this slot exists.
    NotFound,
    /// The container has had no invocation: nothing of a job has run in it.
    NotInvoked,
    /// The engine refused the request. Trying again does not help.
    Refused,
}

/// A failed call to a runtime.
#[derive(Debug)]
pub struct RuntimeError {
    kind: RuntimeErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RuntimeError {
    /// An error with no deeper cause. `message` is a lower-case fragment that says what was tried.
    pub fn new(kind: RuntimeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the operator can do about it, if there is no connection to the engine.
    pub fn remedy(&self) -> Option<String> {
        let fault = self.source.as_ref()?.downcast_ref::<ConnectFault>()?;
        Some(fault.remedy())
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> RuntimeErrorKind {
        self.kind
    }
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for RuntimeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
