//! The signals that ask this process to end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Requests to end, from outside.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Asks for an orderly end.
    pub end: CancellationToken,
    /// Asks for an end at once.
    pub at_once: CancellationToken,
}

impl From<CancellationToken> for Signals {
    /// Asks for an orderly end only.
    fn from(end: CancellationToken) -> Self {
        Self { end, at_once: CancellationToken::new() }
    }
}

impl Signals {
    /// The first SIGTERM or SIGINT asks for an orderly end, the second for an end at once. SIGHUP, which a closing
    /// terminal sends, is ignored.
    ///
    /// # Errors
    /// The process cannot listen to signals.
    pub fn of_this_process() -> std::io::Result<Self> {
        let signals = Self::default();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let requests = signals.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => continue,
                }
                if requests.end.is_cancelled() {
                    return requests.at_once.cancel();
                }
                requests.end.cancel();
            }
        });
        Ok(signals)
    }
}
