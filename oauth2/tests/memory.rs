//! The storage of the tests keeps what every storage promises.

use mgx_oauth2::{MemoryStorage, conformance};

#[tokio::test]
async fn storage_in_memory_is_a_storage() {
    conformance::run(&MemoryStorage::default()).await;
}
