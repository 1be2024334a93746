//! The storage in memory passes the conformance suite.

use mgx_oauth2::{MemoryStorage, conformance};

#[tokio::test]
async fn the_storage_in_memory_conforms() {
    conformance::run(&MemoryStorage::default()).await;
}
