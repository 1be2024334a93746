//! Signed tokens: keys, JWS, access tokens and their verifier, DPoP proofs.

pub(crate) mod access_token;
pub(crate) mod dpop;
pub(crate) mod jws;
pub(crate) mod key_file;
pub(crate) mod public_keys;
pub(crate) mod revoked_tokens;
mod rsa_primes;
pub(crate) mod signing_keys;
pub(crate) mod verifier;
