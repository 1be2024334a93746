//! Clients (RFC 6749 section 2): the programs that may ask for tokens, and where browsers are redirected for them.

pub(crate) mod client;
pub(crate) mod grant_type;
pub(crate) mod public_origins;
pub(crate) mod redirect_uri;
