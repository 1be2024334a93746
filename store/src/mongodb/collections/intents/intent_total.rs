//! How many intents are stored, counted once and then kept up to date by the process that leads, the only one that writes
//! intents.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mgx_apps::IntentBounds;
use tokio::sync::OnceCell;

use crate::error::Failure;

/// The number of intents and the bytes of their answers.
#[derive(Debug, Default)]
pub(crate) struct IntentTotal(OnceCell<Mutex<IntentBounds>>);

impl IntentTotal {
    /// The total; `count` reads it from the store the first time.
    pub(crate) async fn get(
        &self,
        count: impl Future<Output = Result<IntentBounds, Failure>>,
    ) -> Result<IntentBounds, Failure> {
        let total = self.0.get_or_try_init(|| async { count.await.map(Mutex::new) }).await?;
        Ok(*lock(total))
    }

    /// Adds to the total, if it has been counted already: a later count sees the change anyway.
    pub(crate) fn add(&self, count: i64, bytes: i64) {
        if let Some(total) = self.0.get() {
            let mut total = lock(total);
            total.count = total.count.saturating_add_signed(count);
            total.bytes = total.bytes.saturating_add_signed(bytes);
        }
    }
}

fn lock(total: &Mutex<IntentBounds>) -> MutexGuard<'_, IntentBounds> {
    total.lock().unwrap_or_else(PoisonError::into_inner)
}
