//! Tokens: checked, bound to keys, refreshed, revoked.

mod api_tokens;
mod dpop;
mod introspection;
mod jwt;
mod refresh;
