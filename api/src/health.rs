//! `/healthz`: this process answers. `/readyz`: the store and the container engine answer too.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use mgx_runtimes::{EngineInfo, Runtime};
use mgx_scheduler::JobFilter;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::problem::{Problem, Slug};

/// How long the store and the engine each may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

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
    async fn ask(&self) -> Option<EngineInfo> {
        let mut last = self.last.lock().await;
        if let Some(answer) = last.as_ref().filter(|answer| answer.at.elapsed() < FRESH) {
            return answer.info.clone();
        }
        let info = match timeout(PATIENCE, self.runtime.info()).await {
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

/// This process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// All that a job needs is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`.
    status: &'static str,
    /// The container engine.
    engine: String,
    /// Its version.
    engine_version: String,
}

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether this process answers at all.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "it does", body = Health)))]
async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}

/// Whether jobs can run now. If not, they are accepted all the same (unless it is the store that is away, or the
/// platform is shutting down) and wait.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "they can", body = Readiness)))]
async fn readyz(State(app): State<Arc<App>>) -> Result<axum::Json<Readiness>, Problem> {
    if app.scheduler.is_draining() {
        return Err(Problem::draining());
    }
    let one = JobFilter { limit: 1, ..JobFilter::default() };
    match timeout(PATIENCE, app.scheduler.jobs(one)).await {
        Ok(answer) => drop(answer?),
        Err(_) => {
            return Err(
                Problem::new(Slug::StoreUnavailable, "the store does not answer").retry_after(PATIENCE)
            );
        }
    }
    let engine = app.engine.ask().await.ok_or_else(|| {
        Problem::new(Slug::RuntimeUnavailable, "jobs wait until the container engine answers")
            .retry_after(PATIENCE)
    })?;
    Ok(axum::Json(Readiness { status: "ready", engine: engine.name, engine_version: engine.version }))
}
