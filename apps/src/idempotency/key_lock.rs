//! Locks by key: requests with the same key are handled one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::idempotency::intent::IntentKey;

type Locks = Arc<Mutex<HashMap<IntentKey, Arc<tokio::sync::Mutex<()>>>>>;

/// One lock for each key that a request holds or waits for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyLocks(Locks);

/// The lock of a key, held. Dropping it lets the next request of the key proceed.
#[derive(Debug)]
pub struct KeyLock {
    _guard: OwnedMutexGuard<()>,
    _entry: Entry,
}

impl KeyLocks {
    /// Waits until no other request holds the lock of `key`.
    pub(crate) async fn lock(&self, key: IntentKey) -> KeyLock {
        let entry = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let lock = locks.entry(key).or_default().clone();
            Entry { locks: self.0.clone(), key, lock: Some(lock) }
        };
        let lock = entry.lock.clone().expect("an entry has its lock until it is dropped");
        KeyLock { _guard: lock.lock_owned().await, _entry: entry }
    }
}

/// One request's use of a lock. The last request that drops it removes the lock.
#[derive(Debug)]
struct Entry {
    locks: Locks,
    key: IntentKey,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.lock.take());
        if locks.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_has_one_holder_and_no_lock_is_left_behind() {
        let locks = KeyLocks::default();
        let key = IntentKey::of(&[b"key"]);
        let first = locks.lock(key).await;
        let waiting = tokio::time::timeout(Duration::from_secs(30), locks.lock(key)).await;
        assert!(waiting.is_err(), "the second waits until it gives up");
        drop(locks.lock(IntentKey::of(&[b"other"])).await);
        assert_eq!(locks.0.lock().unwrap().len(), 1);
        drop(first);
        assert!(locks.0.lock().unwrap().is_empty());
        drop(locks.lock(key).await);
        assert!(locks.0.lock().unwrap().is_empty());
    }
}
