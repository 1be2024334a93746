//! A platform on one of the runtimes of a duel, and the jobs that it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use mgx_protocol::SessionId;
use mgx_runtimes::pool::report::Report;
use tokio::time::{Instant, sleep, sleep_until};

use super::recording_runtime::{Recorder, RecordingRuntime};
use super::stages::JobStages;
use super::trace::Trace;
use crate::shared::job_client::{JobClient, JobTimes, Workload};
use crate::shared::output;
use crate::{Host, Overrides, Platform, RuntimeDecorator};

/// How long a runtime may take to remove the containers of jobs that have ended, and to fill its pool.
const QUIET_TIMEOUT: Duration = Duration::from_mins(1);

/// A platform on one runtime.
pub(super) struct DuelPlatform {
    platform: Platform,
    jobs: JobClient,
    recorder: Recorder,
    /// The number of sessions that were made.
    sessions: AtomicU32,
}

/// The jobs of one mode.
#[derive(Debug, Default)]
pub(super) struct ModeOutcome {
    /// Those that succeeded.
    pub(super) succeeded: Vec<JobStages>,
    /// The number of those that did not.
    pub(super) errors: usize,
}

impl DuelPlatform {
    /// Starts a platform.
    pub(super) async fn start(
        host: &dyn Host,
        overrides: &Overrides,
        workload: Workload,
    ) -> anyhow::Result<Self> {
        let recorder = Recorder::default();
        let times = recorder.clone();
        let decorator: RuntimeDecorator =
            Box::new(move |below, pool| Arc::new(RecordingRuntime::new(below, pool.cloned(), times.clone())));
        let platform = host.start(overrides, Some(decorator)).await?;
        let jobs = JobClient::new(&platform, workload.job(host, overrides))?;
        Ok(Self { platform, jobs, recorder, sessions: AtomicU32::new(0) })
    }

    /// Runs the jobs of `trace`, once nothing of the jobs before is left.
    pub(super) async fn run(&self, trace: &Trace) -> anyhow::Result<ModeOutcome> {
        self.until_quiet().await?;
        self.recorder.clear();
        let times: Vec<anyhow::Result<JobTimes>> = match trace {
            Trace::InTurns(count) => {
                let mut times = Vec::new();
                for session in self.make_sessions(*count as usize).await? {
                    times.push(self.jobs.run(&session).await);
                    self.until_removed().await?;
                }
                times
            }
            Trace::At(due) => {
                let sessions = self.make_sessions(due.len()).await?;
                let begin = Instant::now();
                let running = due.iter().zip(&sessions).map(async |(at, session)| {
                    sleep_until(begin + *at).await;
                    self.jobs.run(session).await
                });
                join_all(running).await
            }
        };
        self.until_removed().await?;
        let containers = self.recorder.by_job();
        let mut outcome = ModeOutcome::default();
        for times in times {
            match times {
                Ok(times) => {
                    let container = containers.get(&times.job).context("a job ran in no container")?;
                    outcome.succeeded.push(JobStages::of(&times, container));
                }
                Err(error) => {
                    output::note(format_args!("{error:#}"));
                    outcome.errors += 1;
                }
            }
        }
        Ok(outcome)
    }

    /// The figures of the warm pool, if there is one.
    pub(super) fn pool_report(&self) -> Option<Report> {
        self.platform.pool.as_ref()?.report().into_iter().max_by_key(|pool| pool.hits + pool.misses)
    }

    /// Stops the platform, and removes its containers.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.platform.stop().await
    }

    /// Sessions for `count` jobs.
    async fn make_sessions(&self, count: usize) -> anyhow::Result<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            let number = self.sessions.fetch_add(1, Ordering::Relaxed);
            sessions.push(self.jobs.make_session(&format!("duel-{number}")).await?);
        }
        Ok(sessions)
    }

    /// Waits until no container of a job is left.
    async fn until_removed(&self) -> anyhow::Result<()> {
        self.until(|| self.recorder.is_quiet()).await
    }

    /// Waits until no container of a job is left, and the pool is full.
    async fn until_quiet(&self) -> anyhow::Result<()> {
        let is_full = || self.platform.pool.iter().all(|pool| pool.report().iter().all(Report::is_settled));
        self.until(|| self.recorder.is_quiet() && is_full()).await
    }

    async fn until(&self, condition: impl Fn() -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + QUIET_TIMEOUT;
        while !condition() {
            ensure!(Instant::now() < end, "a container of a job is left over, or the pool is not full");
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
