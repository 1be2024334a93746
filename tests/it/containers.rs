//! Containers: their isolation, the warm pool, and the secrets that must not reach them.

pub(crate) mod containment;
mod images;
mod isolation;
mod pool;
mod secrets;
mod users;
