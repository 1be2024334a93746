//! The signal that a store must not be used any more, with the reason.

use tokio::sync::watch;

/// Set once, with the reason, when the store must not be used any more. Clones share the signal.
#[derive(Clone, Debug)]
pub(crate) struct FatalSignal(watch::Sender<Option<String>>);

impl FatalSignal {
    /// A signal that is not set.
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Sets the signal. Whether it was not set before.
    pub(crate) fn set(&self, reason: &str) -> bool {
        self.0.send_if_modified(|current| {
            let is_first = current.is_none();
            if is_first {
                *current = Some(reason.to_owned());
            }
            is_first
        })
    }

    /// The reason, if the signal is set.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Resolves with the reason when the signal is set; never otherwise.
    pub(crate) async fn wait(&self) -> String {
        let mut current = self.0.subscribe();
        let reason = current.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
        match reason {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await,
        }
    }
}
