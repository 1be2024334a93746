//! `GET /api/pools`: the warm pools, their containers and their hit rates.

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

/// The warm pools; the list is empty if the runtime has none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolsView {
    /// One entry per pool.
    pools: Vec<PoolView>,
}

/// A warm pool: containers of one image that wait for jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolView {
    /// Their image.
    image: String,
    /// Their OCI runtime, such as `crun`; absent if it is the engine's default.
    oci_runtime: Option<&'static str>,
    /// How a workspace comes into one that waits: `propagated` (mounted on the host, it appears there), `cold` (it
    /// cannot: such jobs start cold), `unknown` (none has waited yet).
    #[schema(value_type = String, example = "propagated")]
    workspaces: WorkspaceDelivery,
    /// How many containers wait.
    parked: usize,
    /// How many containers should wait.
    target: usize,
    /// How many containers are being created.
    making: usize,
    /// Starts that found a waiting container.
    hits: u64,
    /// Starts that found none.
    misses: u64,
    /// Hits among all starts; absent before the first.
    hit_rate: Option<f64>,
    /// Containers that were removed because a check of them failed.
    quarantined: u64,
    /// The cost of waiting containers in MiB × seconds, each counted with its memory limit.
    wasted_mib_s: u64,
    /// Milliseconds that hits did not have to wait for the creation of a container.
    cold_ms_avoided: u64,
    /// How long the latest claims took, in milliseconds.
    claim_ms: PercentilesView,
    /// How long the creation of a container takes on average, in milliseconds.
    create_ms: f64,
    /// Whether the pool creates no containers for a while, because their creation failed.
    broken: bool,
}

/// Two percentiles of measured times.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PercentilesView {
    /// The median.
    p50: f64,
    /// The 99th percentile.
    p99: f64,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(pools))
}

/// The warm pools, their containers and their hit rates.
#[utoipa::path(
    get, path = "/api/pools", tag = "pools",
    responses((status = 200, description = "every pool", body = PoolsView))
)]
async fn pools(State(app): State<Arc<App>>, _: Caller) -> Result<Json<PoolsView>, Problem> {
    Ok(Json(PoolsView { pools: app.scheduling()?.pools.report().into_iter().map(PoolView::from).collect() }))
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
