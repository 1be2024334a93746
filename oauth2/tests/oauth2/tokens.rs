//! Tokens: checked, bound to keys, refreshed, revoked.

mod algorithms;
mod api_tokens;
mod dpop;
mod introspection;
mod jwt;
mod refresh;
