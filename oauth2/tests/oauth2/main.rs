//! The provider over its public interface: every flow, and what has to be refused.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;
mod flows;
mod metadata;
mod sessions;
mod tokens;
