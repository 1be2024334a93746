//! A mailbox for one value: a newer value replaces one that has not been taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// One value or none, and a way to wait for it. At most one task waits at a time.
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    value: Mutex<Option<T>>,
    arrived: Notify,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), arrived: Notify::new() }
    }
}

impl<T> Mailbox<T> {
    /// Puts `value` in and drops a value that has not been taken.
    pub(super) fn put(&self, value: T) {
        *self.lock() = Some(value);
        self.arrived.notify_one();
    }

    /// Takes the value, if there is one.
    pub(super) fn try_take(&self) -> Option<T> {
        self.lock().take()
    }

    /// Returns a value that was taken, unless a newer one has arrived.
    pub(super) fn put_back(&self, value: T) {
        self.lock().get_or_insert(value);
        self.arrived.notify_one();
    }

    /// Waits for a value, and takes it. Cancel-safe.
    pub(super) async fn take(&self) -> T {
        loop {
            if let Some(value) = self.lock().take() {
                return value;
            }
            self.arrived.notified().await;
        }
    }

    /// Waits for a value and returns what `look` reads from it, without taking it.
    pub(super) async fn peek<R>(&self, look: impl Fn(&T) -> R) -> R {
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
