//! `mgx bench`: what the benchmarks need of this program.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use jiff::Timestamp;
use mgx_bench::{Host, Overrides, Platform, RuntimeDecorator, Settings};
use mgx_protocol::TimeSpan;
use mgx_runtimes::{ContainerEngine, ContainerSpec, Network, PoolableRuntime};
use mgx_scheduler::{Clock, Redactor};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as UnknownRuntime, StrDeserializer};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::out::{Failure, Outcome};
use super::threads;
use crate::config::{Config, RuntimeName, Secret, Whole};
use crate::data_dir;
use crate::engine;
use crate::image::{self, AgentImage};
use crate::server::Serving;
use crate::server::platform::uptime;
use crate::settings::{default_limits, scheduler_config};

pub(crate) use mgx_bench::Command;

/// Measures.
pub(crate) fn run(config: Config, command: &Command) -> Outcome {
    let host = ConfiguredHost(config);
    let measured = threads::serving_runtime()?.block_on(command.run(&host));
    measured.map_err(|error| Failure::new(format!("{error:#}")))
}

/// This program with the operator's configuration.
#[derive(Debug)]
struct ConfiguredHost(Config);

impl ConfiguredHost {
    fn with(&self, overrides: &Overrides) -> anyhow::Result<Config> {
        let mut config = self.0.clone();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.data_dir.clone_from(&overrides.data_dir);
        config.store.database.clone_from(&overrides.database);
        config.store.path = overrides.data_dir.join("mgx.db");
        config.workspaces.root = overrides.data_dir.join("workspaces");
        config.workspaces.host_root.clone_from(&config.workspaces.root);
        // the model is not measured, and must not cost anything
        (config.llm.base_url, config.llm.api_key) = (String::new(), Secret::new(""));
        config.llm.demo_pace = TimeSpan::shortest();
        if let Some(name) = overrides.runtime {
            config.runtime = runtime(name)?;
        }
        if let Some(containers) = overrides.pool {
            config.pool.min = Whole::nearest(containers);
            config.pool.max = Whole::nearest(containers);
        }
        if let Some(jobs) = overrides.max_running {
            config.scheduler.max_running = Whole::nearest(jobs);
        }
        if let Some(jobs) = overrides.max_queued {
            config.queue.max_queued = Whole::nearest(jobs);
            config.queue.max_queued_per_user = Whole::nearest(jobs);
        }
        if overrides.is_rate_unlimited {
            config.rate.per_minute = Whole::nearest(u64::MAX);
            config.rate.burst = Whole::nearest(u64::MAX);
        }
        Ok(config)
    }
}

#[async_trait]
impl Host for ConfiguredHost {
    fn settings(&self) -> Settings {
        let config = &self.0;
        Settings {
            runtime: config.runtime.name(),
            container: ContainerSpec {
                image: AgentImage::of(config).name,
                limits: default_limits(config),
                network: Network::None,
                oci_runtime: config.isolation.agent,
            },
            runner: image::runner(config).unwrap_or_default(),
            store_url: config.store.url.get().cloned(),
        }
    }

    fn scheduler_config(&self) -> mgx_scheduler::Config {
        scheduler_config(&self.0, engine::address(&self.0), Redactor::default())
    }

    fn clock(&self) -> Clock {
        Clock::starting_at(Timestamp::now(), uptime())
    }

    fn make_data_dir(&self, data_dir: &Path) -> anyhow::Result<SecretString> {
        data_dir::make(data_dir)?;
        Ok(data_dir::admin_token(data_dir)?)
    }

    fn containers(&self, overrides: &Overrides, instance: &str) -> anyhow::Result<Arc<dyn ContainerEngine>> {
        engine::containers(&self.with(overrides)?, instance)
    }

    fn parking(
        &self,
        overrides: &Overrides,
        instance: &str,
    ) -> anyhow::Result<Option<Arc<dyn PoolableRuntime>>> {
        let config = self.with(overrides)?;
        match config.runtime {
            RuntimeName::Docker | RuntimeName::PoolDocker | RuntimeName::Podman | RuntimeName::PoolPodman => {
                data_dir::make(&config.server.data_dir)?;
                // waiting containers open no tunnels
                let (tunnels, _) = mpsc::channel(1);
                Ok(Some(Arc::new(engine::parking(
                    &config,
                    instance,
                    tunnels,
                    engine::users::container_user(),
                )?)))
            }
            RuntimeName::Process | RuntimeName::Null => Ok(None),
        }
    }

    async fn start(
        &self,
        overrides: &Overrides,
        decorator: Option<RuntimeDecorator>,
    ) -> anyhow::Result<Platform> {
        let config = self.with(overrides)?;
        let data_dir: PathBuf = config.server.data_dir.clone();
        let serving = Box::pin(Serving::start_with(config, decorator)).await?;
        serving.leading().await;
        let (address, instance, pool) = (serving.address(), serving.instance().to_owned(), serving.pool());
        let token = data_dir::admin_token(&data_dir)?;
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serving.until(shutdown.clone()));
        Ok(Platform { address, token, instance, pool, shutdown, serving })
    }
}

fn runtime(name: &str) -> anyhow::Result<RuntimeName> {
    let deserializer: StrDeserializer<'_, UnknownRuntime> = name.into_deserializer();
    RuntimeName::deserialize(deserializer).with_context(|| format!("the runtime {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmarks_know_every_runtime() {
        for name in mgx_bench::RUNTIMES {
            assert_eq!(runtime(name).unwrap().name(), name);
        }
        let refusal = runtime("no-such-runtime").unwrap_err().root_cause().to_string();
        assert_eq!(refusal.matches('`').count(), 2 * (1 + mgx_bench::RUNTIMES.len()), "{refusal}");
    }
}
