//! Reading what is left after the command has ended: to the end of a stream, or until nothing more comes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// After the end, a stream that says nothing for this long is held open by a process that escaped. As PID 1 none
/// can, and every stream reaches its end.
const QUIET: Duration = Duration::from_secs(2);

/// What `read` gives, or nothing if the command has `ended` and it gives nothing any more.
pub(crate) async fn until_quiet<T>(ended: &CancellationToken, read: impl Future<Output = T>) -> Option<T> {
    let quiet = async {
        ended.cancelled().await;
        tokio::time::sleep(QUIET).await;
    };
    tokio::select! {
        biased;
        read = read => Some(read),
        () = quiet => None,
    }
}
