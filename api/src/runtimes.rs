//! What containers run on: whether the engine answers, and what waits in the warm pools.

mod health;
mod pools;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::state::App;

pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().merge(health::routes()).merge(pools::routes())
}
