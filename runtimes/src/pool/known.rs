//! Which containers this process has in hand: whatever else looks like the pool's is a leftover of an earlier life.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mgx_protocol::SlotId;

/// Everything in hand, and the memory that each may use, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands(Arc<Mutex<HashMap<SlotId, u64>>>);

/// One in hand, until this is dropped.
#[derive(Debug)]
pub(crate) struct Known {
    slot: SlotId,
    hands: Hands,
}

impl Hands {
    /// Takes `slot` in hand; `None` if somebody has it already.
    pub(crate) fn take(&self, slot: &SlotId, memory_bytes: u64) -> Option<Known> {
        let mut hands = self.lock();
        if hands.contains_key(slot) {
            return None;
        }
        hands.insert(slot.clone(), memory_bytes);
        Some(Known { slot: slot.clone(), hands: self.clone() })
    }

    pub(crate) fn hold(&self, slot: &SlotId) -> bool {
        self.lock().contains_key(slot)
    }

    /// What all of them may use, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    pub(crate) fn slot(&self) -> &SlotId {
        &self.slot
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.hands.lock().remove(&self.slot);
    }
}
