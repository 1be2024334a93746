//! A place for one value that waits to be taken; a newer one takes the place of an older.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One value or none, and a way to wait for it. At most one task waits at a time.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    value: Mutex<Option<T>>,
    arrived: Notify,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), arrived: Notify::new() }
    }
}

impl<T> Latest<T> {
    /// Leaves `value` here. What was here before is dropped.
    pub(crate) fn put(&self, value: T) {
        *self.lock() = Some(value);
        self.arrived.notify_one();
    }

    /// Takes the value that is here.
    pub(crate) fn try_take(&self) -> Option<T> {
        self.lock().take()
    }

    /// Leaves here what was taken, unless something newer has arrived.
    pub(crate) fn put_back(&self, value: T) {
        self.lock().get_or_insert(value);
        self.arrived.notify_one();
    }

    /// Waits for a value, and takes it. Cancel-safe.
    pub(crate) async fn take(&self) -> T {
        loop {
            if let Some(value) = self.lock().take() {
                return value;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits until a value is here, and says what `look` sees in it.
    pub(crate) async fn peek<R>(&self, look: impl Fn(&T) -> R) -> R {
        loop {
            if let Some(seen) = self.lock().as_ref().map(&look) {
                return seen;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
