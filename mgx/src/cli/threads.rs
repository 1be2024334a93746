//! The asynchronous runtimes of this program: many threads for a server, one for every other command.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::out::Failure;

/// How long an idle thread for blocking work is kept. When it ends, the allocator returns to the system what has been
/// free for a second, such as the memory that hashing a password took.
const IDLE_THREAD_LIFE: Duration = Duration::from_millis(1500);

/// The runtime of a server: one thread for each processor.
pub(super) fn serving_runtime() -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    builder.max_blocking_threads(64).thread_keep_alive(IDLE_THREAD_LIFE);
    let runtime = builder.enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start threads: {error}")))
}

/// The runtime of every other command.
pub(super) fn current_thread() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))
}
