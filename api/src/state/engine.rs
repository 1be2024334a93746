//! How the container engine is, asked at most once in a second.

use std::sync::Arc;
use std::time::Duration;

use mgx_runtimes::{EngineInfo, Runtime};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long the engine may take to answer.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer of the engine is good for: however often we are asked, it is asked once in this time.
const FRESH: Duration = Duration::from_secs(1);

/// Asks the container engine how it is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineProbe {
    runtime: Arc<dyn Runtime>,
    last: Arc<Mutex<Option<Answer>>>,
}

/// What the engine said, and when.
#[derive(Debug)]
struct Answer {
    at: Instant,
    info: Option<EngineInfo>,
}

impl EngineProbe {
    /// Will ask `runtime`.
    pub fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self { runtime, last: Arc::default() }
    }

    /// What the engine is; `None` if it does not answer.
    pub(crate) async fn ask(&self) -> Option<EngineInfo> {
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.at.elapsed() < FRESH) {
            return answer.info.clone();
        }
        let info = match timeout(ENGINE_TIMEOUT, self.runtime.info()).await {
            Ok(Ok(info)) => Some(info),
            Ok(Err(cause)) => {
                tracing::warn!(%cause, "the container engine does not answer");
                None
            }
            Err(_) => None,
        };
        last.insert(Answer { at: Instant::now(), info }).info.clone()
    }
}
