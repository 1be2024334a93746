//! One request to the MongoDB server, with a time limit.

use std::future::Future;
use std::time::Duration;

use mongodb::error::Error;
use tokio::time::timeout;

use crate::error::Failure;
use crate::mongodb::error::timed_out;

/// How long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for a request no longer than [`REQUEST_TIMEOUT`].
pub(crate) async fn in_time<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(timed_out()),
    }
}
