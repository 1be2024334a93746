//! Whether the last write of the store succeeded, and when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a write shows that the store takes writes.
const LIFETIME: Duration = Duration::from_secs(5);

/// How the last write ended. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Mutex<Last>>);

#[derive(Clone, Copy, Debug, Default)]
enum Last {
    #[default]
    None,
    Written(Instant),
    Failed,
}

impl Health {
    /// Notes a write that is on the disk.
    pub(super) fn written(&self) {
        self.set(Last::Written(Instant::now()));
    }

    /// Notes a write that failed.
    pub(super) fn failed(&self) {
        self.set(Last::Failed);
    }

    /// Whether a write has succeeded lately, and none has failed since.
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.get(), Last::Written(at) if at.elapsed() < LIFETIME)
    }

    /// Whether the last write failed.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.get(), Last::Failed)
    }

    fn get(&self) -> Last {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, last: Last) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}
