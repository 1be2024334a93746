//! Signing in and out in a browser.

pub(crate) mod logout;
pub(crate) mod password_change;
pub(crate) mod sign_in;
