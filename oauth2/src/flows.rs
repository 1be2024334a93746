//! The protocol's flows and endpoints, one file each, without HTTP.

pub(crate) mod authorization;
pub(crate) mod authorization_request;
pub(crate) mod client_authentication;
pub(crate) mod device_authorization;
pub(crate) mod introspection;
pub(crate) mod issue;
pub(crate) mod pages_session;
mod revocation;
pub(crate) mod token;
pub(crate) mod token_request;
pub(crate) mod user_claims;
pub(crate) mod userinfo;
