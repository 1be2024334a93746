//! The stages of a job: when each of them began.

use std::time::{Duration, Instant};

use super::recording_runtime::ContainerTimes;
use crate::shared::job_client::JobTimes;
use crate::shared::statistics::ms;

/// The stages of a start, in order; each lasts until the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The job was submitted.
    Queued,
    /// It was admitted.
    Admitted,
    /// Its container is created, or claimed from the pool.
    Create,
    /// Its runner is ready; the store records that it runs.
    Ready,
    /// The runner has its invocation.
    Invoke,
    /// The first event of an agent has arrived.
    FirstEvent,
    /// Its `finish` has arrived; the container is being removed.
    Finish,
    /// Its container is removed.
    Removed,
}

impl Stage {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Queued,
        Self::Admitted,
        Self::Create,
        Self::Ready,
        Self::Invoke,
        Self::FirstEvent,
        Self::Finish,
        Self::Removed,
    ];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Admitted => "admitted",
            Self::Create => "create",
            Self::Ready => "ready",
            Self::Invoke => "invoke",
            Self::FirstEvent => "first_event",
            Self::Finish => "finish",
            Self::Removed => "removed",
        }
    }
}

/// One job that succeeded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobStages {
    /// Milliseconds from the request to the first event of an agent; to `finish`, if there was none.
    pub(super) tti_ms: f64,
    /// Milliseconds from the request to the beginning of each stage.
    pub(super) at_ms: [f64; Stage::ALL.len()],
    /// Whether its container came from the pool.
    pub(super) is_hit: bool,
}

impl JobStages {
    /// By the times that the client and the runtime recorded.
    pub(super) fn of(times: &JobTimes, container: &ContainerTimes) -> Self {
        let after = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(times.began));
        let first = after(times.first.or(Some(times.finish)));
        let stages = [
            Some(Duration::ZERO),
            after(times.admitted),
            after(container.create),
            after(container.ready),
            after(container.invoke),
            first,
            after(Some(times.finish)),
            after(container.removed),
        ];
        // A stage that was not recorded has no length. The client's times are a little later than the platform's, so the
        // order of the stages is enforced.
        let mut latest = Duration::ZERO;
        let at_ms = stages.map(|at| {
            latest = latest.max(at.unwrap_or_default());
            ms(latest)
        });
        Self { tti_ms: ms(first.unwrap_or_default()), at_ms, is_hit: container.is_hit }
    }
}
