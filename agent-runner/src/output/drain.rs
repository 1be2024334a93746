//! Ends the reading of a stream that stays open after the command has ended.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long a stream may be silent after the command's end before it is given up. Only where the runner is not PID 1 can
/// a process escape and keep a stream open.
const SILENCE_LIMIT: Duration = Duration::from_secs(2);

/// The result of `read`; `None` if it does not come within [`SILENCE_LIMIT`] after the command has `ended`.
pub(crate) async fn until_quiet<T>(ended: &CancellationToken, read: impl Future<Output = T>) -> Option<T> {
    let quiet = async {
        ended.cancelled().await;
        tokio::time::sleep(SILENCE_LIMIT).await;
    };
    tokio::select! {
        biased;
        read = read => Some(read),
        () = quiet => None,
    }
}
