//! The warm pools of the runtime.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;
use crate::open_enum::OpenEnum;

/// Every warm pool; none if the runtime has no pool.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PoolList {
    /// The pools.
    pub pools: Vec<Pool>,
}

/// Containers of one image that wait for jobs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Pool {
    /// Their image.
    pub image: String,
    /// Their OCI runtime, such as `crun`; absent if it is the engine's default.
    pub oci_runtime: Option<String>,
    /// How a workspace gets into a container that waits.
    pub workspaces: OpenEnum<WorkspaceDelivery>,
    /// How many containers wait.
    pub parked: u64,
    /// How many should wait.
    pub target: u64,
    /// How many are being made.
    pub making: u64,
    /// Starts that found a container waiting.
    pub hits: u64,
    /// Starts that did not.
    pub misses: u64,
    /// Hits among all starts, 0 to 1; absent before the first start.
    pub hit_rate: Option<f64>,
    /// Containers that were removed because their state was in doubt.
    pub quarantined: u64,
    /// What waiting has cost, in MiB × seconds; each container counts with the memory that it may use.
    pub wasted_mib_s: u64,
    /// What waiting has saved: milliseconds that hits did not wait for a container to be made.
    pub cold_ms_avoided: u64,
    /// How long the last claims took, in milliseconds.
    pub claim_ms: Percentiles,
    /// How long it takes to make a container on average, in milliseconds.
    pub create_ms: f64,
    /// Whether the pool has stopped making containers for a while, because that fails.
    pub broken: bool,
}

/// How a workspace gets into a container that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceDelivery {
    /// The workspace is mounted on the host and appears in the container (mount propagation).
    Propagated,
    /// The workspace cannot get into it, so jobs start with a container of their own.
    Cold,
    /// No container has waited yet.
    Unknown,
}

/// The median and the 99th percentile of some times.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Percentiles {
    /// Half of the times are at most this.
    pub p50: f64,
    /// 99 of 100 times are at most this.
    pub p99: f64,
}

impl Client {
    /// The warm pools.
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn pools(&self) -> Result<PoolList, Error> {
        self.json(self.request(Method::GET, "/api/pools")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pools_are_written_as_they_were_read() {
        let answer = json!({ "pools": [{
            "image": "mgx-agent:latest", "oci_runtime": null, "workspaces": "propagated", "parked": 4, "target": 4,
            "making": 0, "hits": 99, "misses": 1, "hit_rate": 0.99, "quarantined": 0, "wasted_mib_s": 81920,
            "cold_ms_avoided": 21312, "claim_ms": { "p50": 2.25, "p99": 6.5 }, "create_ms": 221.0, "broken": false
        }] });
        let read: PoolList = serde_json::from_value(answer.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), answer);
    }
}
