//! Authentication: the caller of a request and the caller's rights, from tokens, proofs, cookies and browser sign-in.

pub(crate) mod app_client;
mod browser;
pub(crate) mod caller;
mod challenge;
pub(crate) mod credential;
pub(crate) mod gate;
mod rights;
pub(crate) mod sign_in;
pub(crate) mod stream_access;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod sign_in_tests;

pub use caller::Caller;
pub use gate::{AUDIENCE, AdminToken, Gate};
pub use rights::{Right, Rights};
pub use sign_in::{CALLBACK, PAGES};
