//! What is done to users and clients, and in whose name: they are added, changed and removed.

pub(crate) mod api_tokens;
pub(crate) mod clients;
mod queries;
pub(crate) mod users;

use crate::accounts::password_rules::WeakPassword;
use crate::accounts::passwords::Busy;
use crate::clients::client::BadClient;
use crate::clients::redirect_uri::BadRedirect;
use crate::provider::{AuditContext, Provider};
use crate::storage::StorageError;

/// The group of the platform's administrators.
pub const ADMIN: &str = "admin";

/// Somebody who changes accounts. What they do is in the audit log under their name.
#[derive(Clone, Copy, Debug)]
pub struct Administration<'a> {
    pub(crate) provider: &'a Provider,
    name: Option<&'a str>,
}

/// Why nothing was changed. The administrator does something else, or tries again.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name or id is somebody else's.
    #[error("the name is taken")]
    Taken,
    /// There is no such user or client.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// Nobody may have this password.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The client cannot be registered so.
    #[error(transparent)]
    Client(#[from] BadClient),
    /// The redirect URI cannot be registered.
    #[error("{uri}: {source}")]
    Redirect {
        /// Which.
        uri: String,
        /// Why.
        source: BadRedirect,
    },
    /// Too many sign in at once.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The store does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Provider {
    /// Whoever is called so, to change something; `None`: the platform itself.
    pub fn administration<'a>(&'a self, name: Option<&'a str>) -> Administration<'a> {
        Administration { provider: self, name }
    }
}

impl<'a> Administration<'a> {
    /// Who, for the audit log.
    pub(crate) fn context(&self) -> AuditContext<'a> {
        AuditContext { by: self.name, ..AuditContext::default() }
    }
}
