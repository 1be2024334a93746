//! The containers of the pool that this process is responsible for: any other one is a leftover of an earlier process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mgx_protocol::SlotId;

/// The owned slots, and the memory that each container may use, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnedContainers(Arc<Mutex<HashMap<SlotId, u64>>>);

/// The ownership of one container, until this is dropped.
#[derive(Debug)]
pub(crate) struct OwnedContainer {
    slot: SlotId,
    owner: OwnedContainers,
}

impl OwnedContainers {
    /// Takes the ownership of `slot`; `None` if it is owned already.
    pub(crate) fn take(&self, slot: &SlotId, memory_bytes: u64) -> Option<OwnedContainer> {
        let mut owned = self.lock();
        if owned.contains_key(slot) {
            return None;
        }
        owned.insert(slot.clone(), memory_bytes);
        Some(OwnedContainer { slot: slot.clone(), owner: self.clone() })
    }

    pub(crate) fn contains(&self, slot: &SlotId) -> bool {
        self.lock().contains_key(slot)
    }

    /// How much memory all of them may use, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnedContainer {
    pub(crate) fn slot(&self) -> &SlotId {
        &self.slot
    }
}

impl Drop for OwnedContainer {
    fn drop(&mut self) {
        self.owner.lock().remove(&self.slot);
    }
}
