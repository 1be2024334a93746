//! What a user has allowed a client: grants, their authorization codes and refresh tokens, and devices that wait.

pub(crate) mod authorization_code;
pub(crate) mod device;
pub(crate) mod grant;
pub(crate) mod refresh_token;
pub(crate) mod user_code;
