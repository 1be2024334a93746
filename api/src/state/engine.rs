//! Whether the container engine answers, asked at most once per second.

use std::sync::Arc;
use std::time::Duration;

use mgx_runtimes::{EngineInfo, Runtime};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long the engine may take to answer.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer of the engine is reused, so that health checks do not load the engine.
const ANSWER_LIFETIME: Duration = Duration::from_secs(1);

/// Asks the container engine for its name and version. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineProbe {
    runtime: Arc<dyn Runtime>,
    last: Arc<Mutex<Option<Answer>>>,
}

/// The engine's last answer.
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

    /// The engine's name and version; `None` if it does not answer.
    pub(crate) async fn ask(&self) -> Option<EngineInfo> {
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.at.elapsed() < ANSWER_LIFETIME) {
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
