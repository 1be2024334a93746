//! `GET /api/pools`: what waits in the warm pools, and what they have been good for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mgx_runtimes::pool::report::{Percentiles, Report, WorkspaceDelivery};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::http::Problem;
use crate::state::App;

/// The warm pools; none, if the runtime is none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolsView {
    /// Each of them.
    pools: Vec<PoolView>,
}

/// Containers that are alike and wait for jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolView {
    /// Their image.
    image: String,
    /// Their OCI runtime, such as `crun`; absent if it is the engine's own.
    oci_runtime: Option<&'static str>,
    /// How a workspace comes into one that waits: `propagated` (mounted on the host, it appears there), `cold` (it
    /// cannot: such jobs start cold), `unknown` (none has waited yet).
    #[schema(value_type = String, example = "propagated")]
    workspaces: WorkspaceDelivery,
    /// How many wait.
    parked: usize,
    /// How many should.
    target: usize,
    /// How many are being made.
    making: usize,
    /// Starts that found one waiting.
    hits: u64,
    /// Starts that did not.
    misses: u64,
    /// Hits among all starts; absent before the first.
    hit_rate: Option<f64>,
    /// Containers that were thrown away for some doubt.
    quarantined: u64,
    /// What waiting has cost: MiB × seconds, each container counted with the memory that it may use.
    wasted_mib_s: u64,
    /// What it has saved: milliseconds that hits did not wait for a container to be made.
    cold_ms_avoided: u64,
    /// How long the last claims took, in milliseconds.
    claim_ms: PercentilesView,
    /// How long making a container takes on average, in milliseconds.
    create_ms: f64,
    /// Whether the pool makes no containers for a while, because making them fails.
    broken: bool,
}

/// The middle and the far end of some times.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PercentilesView {
    /// Half of them are at most this.
    p50: f64,
    /// 99 of 100 are at most this.
    p99: f64,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(pools))
}

/// What waits in the warm pools, and what they have been good for.
#[utoipa::path(
    get, path = "/api/pools", tag = "pools",
    responses((status = 200, description = "every pool", body = PoolsView))
)]
async fn pools(State(app): State<Arc<App>>, _: Caller) -> Result<Json<PoolsView>, Problem> {
    Ok(Json(PoolsView { pools: app.pools.report().into_iter().map(PoolView::from).collect() }))
}

impl From<Report> for PoolView {
    fn from(report: Report) -> Self {
        let hit_rate = report.hit_rate();
        let Percentiles { p50, p99 } = report.claim_ms;
        Self {
            oci_runtime: report.oci_runtime.name(),
            image: report.image,
            workspaces: report.workspaces,
            parked: report.parked,
            target: report.target,
            making: report.making,
            hits: report.hits,
            misses: report.misses,
            hit_rate,
            quarantined: report.quarantined,
            wasted_mib_s: report.wasted_mib_s,
            cold_ms_avoided: report.cold_ms_avoided,
            claim_ms: PercentilesView { p50, p99 },
            create_ms: report.create_ms,
            broken: report.broken,
        }
    }
}
