//! The credential that a request was authenticated by.

use std::sync::Arc;

use mgx_oauth2::AccessToken;
use secrecy::SecretString;

/// The credential that a request was authenticated by.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// The administrator's token.
    Admin,
    /// A user's API token.
    ApiToken(SecretString),
    /// An access token.
    Access(Arc<AccessToken>),
    /// The cookie of the platform's pages.
    Cookie(SecretString),
}
