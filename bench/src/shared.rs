//! What several benchmarks share: servers, clients, statistics, and the comparison with another program.

pub(crate) mod comparison;
pub(crate) mod container_memory;
pub(crate) mod http_connection;
pub(crate) mod job_client;
pub(crate) mod output;
pub(crate) mod process_memory;
pub(crate) mod scratch;
pub(crate) mod server;
pub(crate) mod statistics;
