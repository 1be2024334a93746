//! A blueprint for tests: every job gets the same container.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mgx_protocol::{Conversation, Team};
use mgx_runtimes::{ContainerSpec, Network, OciRuntime};
use mgx_scheduler::{Blueprint, Job, Plan};

/// Plans every job into a container of the image `fake` with the limits of the job, on the workspace `demo`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedBlueprint;

#[async_trait]
impl Blueprint for FixedBlueprint {
    async fn plan(&self, job: &Job) -> Result<Plan, String> {
        Ok(Plan {
            spec: ContainerSpec {
                image: "fake".to_owned(),
                limits: job.spec.limits,
                network: Network::None,
                oci_runtime: OciRuntime::Engines,
            },
            workspace: "demo".parse().expect("it is an id"),
            workspace_dir: "/workspaces/demo".into(),
            labels: BTreeMap::new(),
            env: BTreeMap::new(),
            team: Team::default(),
            conversation: Conversation::default(),
        })
    }
}
