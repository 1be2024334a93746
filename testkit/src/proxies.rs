//! Proxies in front of a server: one that balances, and one that cuts connections.

mod balancer;
mod cutting;

pub use balancer::Balancer;
pub use cutting::CuttingProxy;
