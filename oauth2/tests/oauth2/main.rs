//! The provider over its public interface: every flow, and what has to be refused.
#![expect(clippy::unwrap_used, reason = "tests")]

mod api_tokens;
mod authorize;
mod clients;
mod code;
mod device;
mod dpop;
mod fixture;
mod introspection;
mod jwt;
mod legacy;
mod logout;
mod metadata;
mod refresh;
mod sign_in;
