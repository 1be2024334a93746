//! Administration: changes to users, clients and API tokens, recorded in the audit log.

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

/// The group of the administrators.
pub const ADMIN: &str = "admin";

/// Changes to users, clients and API tokens, recorded in the audit log under the name of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Administration<'a> {
    pub(crate) provider: &'a Provider,
    name: Option<&'a str>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name or id is taken, or the user was changed meanwhile.
    #[error("the name is taken")]
    Taken,
    /// There is no such user or client.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// The password breaks a rule.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The registration of the client breaks a rule.
    #[error(transparent)]
    Client(#[from] BadClient),
    /// A redirect URI breaks a rule.
    #[error("{uri}: {source}")]
    Redirect {
        /// The redirect URI.
        uri: String,
        /// The rule.
        source: BadRedirect,
    },
    /// Too many passwords are being hashed at a time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The storage does not respond.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Provider {
    /// Access to changes in the name of a caller of the API, or of the platform if it is `None`.
    pub fn administration<'a>(&'a self, name: Option<&'a str>) -> Administration<'a> {
        Administration { provider: self, name }
    }
}

impl<'a> Administration<'a> {
    /// The caller, for the audit log.
    pub(crate) fn context(&self) -> AuditContext<'a> {
        AuditContext { by: self.name, ..AuditContext::default() }
    }
}
