//! `/healthz`: the process answers. `/readyz`: the store takes writes, and the container engine answers, too.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use mgx_scheduler::JobFilter;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::{Problem, Slug};
use crate::state::App;

/// How long the store may take to answer; also when to ask again.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// This process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// What this process can do now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready`: jobs can run. `standby`: another process schedules; this one serves event streams and forwards the rest.
    status: &'static str,
    /// The container engine; absent on standby.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<String>,
    /// The engine's version; absent on standby.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine_version: Option<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "it does", body = Health)))]
async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}

/// Whether this process can do its part now. If the container engine does not answer, jobs are accepted and wait; if the store does not
/// answer, takes no writes, or the platform is shutting down, jobs are refused.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "it can", body = Readiness)))]
async fn readyz(State(app): State<Arc<App>>) -> Result<axum::Json<Readiness>, Problem> {
    if app.scheduling.as_ref().is_some_and(|scheduling| scheduling.scheduler.is_draining()) {
        return Err(Problem::draining());
    }
    let one = JobFilter { limit: 1, ..JobFilter::default() };
    let asked = async {
        app.jobs.jobs(one).await.map(drop)?;
        app.store.ask().await
    };
    match timeout(STORE_TIMEOUT, asked).await {
        Ok(answer) => answer?,
        Err(_) => {
            return Err(
                Problem::new(Slug::StoreUnavailable, "the store does not answer").retry_after(STORE_TIMEOUT)
            );
        }
    }
    let Some(scheduling) = &app.scheduling else {
        return Ok(axum::Json(Readiness { status: "standby", engine: None, engine_version: None }));
    };
    let engine = scheduling.engine.ask().await.ok_or_else(|| {
        Problem::new(Slug::RuntimeUnavailable, "jobs wait until the container engine answers")
            .retry_after(STORE_TIMEOUT)
    })?;
    Ok(axum::Json(Readiness {
        status: "ready",
        engine: Some(engine.name),
        engine_version: Some(engine.version),
    }))
}
