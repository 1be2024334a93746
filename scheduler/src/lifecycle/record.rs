//! How a job's task writes the journal: each change of state together with the event that reports it.

use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{Attempt, EventKind, StateName};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{Lifecycle, PROVIDER_UNAVAILABLE};
use crate::core::OwnershipLost;
use crate::events::event::NewEvent;
use crate::job::state::{Failure, Outcome, State, Transition};
use crate::job::{ExitStatus, Job};
use crate::journal::Entry;

/// Why and when a job returns to the queue.
#[derive(Debug)]
pub(super) struct RetryPlan {
    pub(super) reason: &'static str,
    /// Which try has failed, and how many there are, if tries are counted.
    pub(super) tries: Option<(u32, u32)>,
    /// How long before it returns.
    pub(super) pause: Duration,
}

impl RetryPlan {
    /// At once, and as often as it takes.
    pub(super) fn at_once(reason: &'static str) -> Self {
        Self { reason, tries: None, pause: Duration::ZERO }
    }

    /// The data of the `job_queued` event.
    fn data(&self) -> Map<String, Value> {
        let mut data = Map::from_iter([("reason".to_owned(), json!(self.reason))]);
        if let Some((done, of)) = self.tries {
            data.insert("try".to_owned(), json!(done));
            data.insert("tries".to_owned(), json!(of));
        }
        if !self.pause.is_zero() {
            let pause_ms = u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX);
            data.insert("pause_ms".to_owned(), json!(pause_ms));
        }
        data
    }
}

impl Lifecycle {
    /// Returns the job to the queue as its next attempt.
    pub(super) async fn requeue(&mut self, plan: &RetryPlan) -> Result<(), OwnershipLost> {
        self.core.live.set_running(self.job.id, None);
        self.transition(Transition::Requeue);
        self.job.attempt = Attempt(self.job.attempt.0 + 1);
        (self.job.started_at, self.job.started_up, self.job.deadline_at) = (None, None, None);
        let mut data = plan.data();
        if let Some(wait) = self.job.provider_wait.as_ref().filter(|_| plan.reason == PROVIDER_UNAVAILABLE) {
            data.insert("error".to_owned(), json!(wait.reason));
            data.insert("since".to_owned(), json!(wait.since));
            data.insert("until".to_owned(), json!(wait.until));
        }
        self.record_event(EventKind::Job(StateName::Queued), data);
        self.flush().await
    }

    /// Changes the state, and writes that to the journal together with all that was recorded before.
    pub(super) async fn commit_transition(&mut self, transition: Transition) -> Result<(), OwnershipLost> {
        let mut data = Map::new();
        self.transition(transition);
        if let Some(reason) = self.job.state.reason() {
            data.insert("reason".to_owned(), json!(reason));
        }
        if let (State::Running, Some(deadline)) = (self.job.state, self.job.deadline_at) {
            data.insert("deadline_at".to_owned(), json!(deadline));
        }
        self.record_event(EventKind::Job(self.job.state.name()), data);
        self.flush().await
    }

    /// Changes the state and records the event that reports it; both are written by the next [`flush`](Self::flush).
    pub(super) fn record_transition(&mut self, transition: Transition, data: Map<String, Value>) {
        self.transition(transition);
        self.record_event(EventKind::Job(self.job.state.name()), data);
    }

    /// Records an event for the next [`flush`](Self::flush).
    pub(super) fn record_event(&mut self, kind: EventKind, data: Map<String, Value>) {
        let event = self.event(kind, data);
        self.pending_events.push(event);
    }

    /// Writes the job as it stands, and the events that were recorded since the last time.
    pub(super) async fn flush(&mut self) -> Result<(), OwnershipLost> {
        let events = std::mem::take(&mut self.pending_events);
        self.write(Some(Job::clone(&self.job)), events).await
    }

    /// Changes the state in memory.
    pub(super) fn transition(&mut self, transition: Transition) {
        self.job.state =
            self.job.state.after(transition).expect("the lifecycle makes only transitions that are possible");
    }

    /// Writes to the journal, however long that takes.
    pub(super) async fn write(&self, job: Option<Job>, events: Vec<NewEvent>) -> Result<(), OwnershipLost> {
        let entry = Entry { session: self.job.session.clone(), job, events };
        self.core.write(entry).await.inspect_err(|OwnershipLost| {
            warn!(job = %self.job.id, attempt = %self.job.attempt, "another process has taken the job over, letting go");
        })
    }

    pub(super) fn event(&self, kind: EventKind, data: Map<String, Value>) -> NewEvent {
        self.core.event(self.job.id, self.job.attempt, kind, data)
    }
}

/// Completes a job that has reached its final state.
pub(super) fn set_end(job: &mut Job, at: Timestamp, exit: Option<ExitStatus>, error: Option<String>) {
    job.ended_at = Some(at);
    job.exit = exit;
    job.error = job.state.outcome().and_then(|outcome| error_text(outcome, job.spec.timeout_s, error));
}

/// The data of the one `finish` event of a job.
pub(super) fn finish_data(job: &Job) -> Map<String, Value> {
    let elapsed =
        job.started_at.zip(job.ended_at).map(|(start, end)| end.duration_since(start).as_secs_f64());
    let mut data = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            data.insert(key.to_owned(), value);
        }
    };
    put("status", json!(job.state.outcome().map(Outcome::finish_status)));
    put("state", json!(job.state.name()));
    put("reason", json!(job.state.reason()));
    put("error", json!(job.error));
    put("exit", json!(job.exit));
    put("elapsed_seconds", json!(elapsed.map(|seconds| (seconds * 1000.0).round() / 1000.0)));
    data
}

/// What went wrong, for people; in the words of the systems that this platform replaces, where they have some.
fn error_text(outcome: Outcome, timeout_s: u32, error: Option<String>) -> Option<String> {
    match outcome {
        Outcome::TimedOut => Some(format!("Agent task timeout after {timeout_s} seconds")),
        Outcome::Failed(Failure::StartFailed | Failure::ImageMissing | Failure::RuntimeLost) => {
            let error = error.unwrap_or_else(|| "the container is gone".to_owned());
            Some(format!("Failed to create or monitor agent container: {error}"))
        }
        Outcome::Failed(Failure::Internal) => {
            Some("an internal error of the platform: its log says more".to_owned())
        }
        Outcome::Succeeded
        | Outcome::Cancelled
        | Outcome::Expired
        | Outcome::Failed(
            Failure::FinishError | Failure::NonzeroExit | Failure::OomKilled | Failure::ProviderUnavailable,
        ) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_says_why_and_when() {
        let pause = Duration::from_secs(4);
        let counted = RetryPlan { reason: "start_failed", tries: Some((1, 3)), pause };
        insta::assert_compact_json_snapshot!(counted.data(), @r#"{"pause_ms": 4000, "reason": "start_failed", "tries": 3, "try": 1}"#);
        insta::assert_compact_json_snapshot!(RetryPlan::at_once("platform_restarted").data(), @r#"{"reason": "platform_restarted"}"#);
    }
}
