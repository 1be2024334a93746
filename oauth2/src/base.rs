//! Values and sources that every other folder uses: identifiers, time, randomness, hashes, parameters, errors.

pub(crate) mod bounded_map;
pub(crate) mod clock;
pub(crate) mod digest;
pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod issuer;
pub(crate) mod params;
pub(crate) mod random;
pub(crate) mod scope;
pub(crate) mod signing_algorithm;
