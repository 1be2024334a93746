//! One runtime of a duel: a platform on it, and the jobs that come to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use mgx_protocol::SessionId;
use mgx_runtimes::Pool;
use mgx_runtimes::pool::report::Report;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lap::Lap;
use super::trace::Trace;
use super::witness::{Notes, Witness};
use crate::assemble::Lens;
use crate::cli::bench::out;
use crate::cli::bench::trial::{Seen, Trial, Work};
use crate::config::Config;
use crate::serve::Serving;

/// How long a runtime may take to clear away what has ended, and to fill its pool.
const QUIET: Duration = Duration::from_mins(1);

/// A platform on one runtime.
pub(super) struct Contender {
    trial: Trial,
    notes: Notes,
    pool: Option<Arc<Pool>>,
    shutdown: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
    /// Sessions that were made.
    sessions: AtomicU32,
}

/// What became of the jobs of one mode.
#[derive(Debug, Default)]
pub(super) struct Laps {
    /// Those that succeeded.
    pub(super) done: Vec<Lap>,
    /// How many did not.
    pub(super) errors: usize,
}

impl Contender {
    /// Begins to serve.
    pub(super) async fn enter(config: Config, work: Work) -> anyhow::Result<Self> {
        let notes = Notes::default();
        let taken = notes.clone();
        let lens: Lens =
            Box::new(move |below, pool| Arc::new(Witness::new(below, pool.cloned(), taken.clone())));
        let serving = Serving::start_through(config.clone(), Some(lens)).await?;
        serving.leading().await;
        let trial = Trial::new(&config, serving.address(), work)?;
        let pool = serving.pool();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serving.until(shutdown.clone()));
        Ok(Self { trial, notes, pool, shutdown, serving, sessions: AtomicU32::new(0) })
    }

    /// Runs the jobs of `trace`, once everything before them has been cleared away.
    pub(super) async fn run(&self, trace: &Trace) -> anyhow::Result<Laps> {
        self.quiet().await?;
        self.notes.clear();
        let seen: Vec<anyhow::Result<Seen>> = match trace {
            Trace::InTurns(count) => {
                let mut seen = Vec::new();
                for session in self.make_sessions(*count as usize).await? {
                    seen.push(self.trial.once(&session).await);
                    self.cleared().await?;
                }
                seen
            }
            Trace::At(times) => {
                let sessions = self.make_sessions(times.len()).await?;
                let begin = Instant::now();
                let coming = times.iter().zip(&sessions).map(async |(at, session)| {
                    sleep_until(begin + *at).await;
                    self.trial.once(session).await
                });
                join_all(coming).await
            }
        };
        self.cleared().await?;
        let notes = self.notes.by_job();
        let mut laps = Laps::default();
        for seen in seen {
            match seen {
                Ok(seen) => {
                    let note = notes.get(&seen.job).context("a job ran in no container")?;
                    laps.done.push(Lap::of(&seen, note));
                }
                Err(error) => {
                    out::note(format_args!("{error:#}"));
                    laps.errors += 1;
                }
            }
        }
        Ok(laps)
    }

    /// What the pool says of itself, if there is one.
    pub(super) fn pool_report(&self) -> Option<Report> {
        self.pool.as_ref()?.report().into_iter().max_by_key(|pool| pool.hits + pool.misses)
    }

    /// Serves no more, and leaves nothing behind.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let ended = self.serving.await;
        if let Some(pool) = self.pool {
            pool.dissolve().await;
        }
        ended?
    }

    /// Sessions for `count` jobs.
    async fn make_sessions(&self, count: usize) -> anyhow::Result<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            let number = self.sessions.fetch_add(1, Ordering::Relaxed);
            sessions.push(self.trial.session(&format!("duel-{number}")).await?);
        }
        Ok(sessions)
    }

    /// Waits until no container of a job is left.
    async fn cleared(&self) -> anyhow::Result<()> {
        self.until(|| self.notes.is_quiet()).await
    }

    /// Waits until no container of a job is left, and the pool is full.
    async fn quiet(&self) -> anyhow::Result<()> {
        let is_full = || self.pool.iter().all(|pool| pool.report().iter().all(Report::is_settled));
        self.until(|| self.notes.is_quiet() && is_full()).await
    }

    async fn until(&self, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + QUIET;
        while !is_so() {
            ensure!(Instant::now() < end, "a container of a job is left over, or the pool is not full");
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
