//! Pauses between attempts at something that must succeed in the end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::sleep;

/// Pauses that double up to a limit, without end.
#[derive(Debug)]
pub(crate) struct Backoff(ExponentialBackoff);

impl Backoff {
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        let pauses =
            ExponentialBuilder::new().with_min_delay(first).with_max_delay(limit).without_max_times();
        Self(pauses.build())
    }

    /// Waits for the next pause to pass.
    pub(crate) async fn wait(&mut self) {
        if let Some(pause) = self.0.next() {
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_never_end() {
        let backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
        let pauses: Vec<_> = backoff.0.take(6).map(|pause| (pause.as_secs_f64() * 100.0).round()).collect();
        assert_eq!(pauses, [2.0, 4.0, 8.0, 10.0, 10.0, 10.0], "hundredths of a second");
    }
}
