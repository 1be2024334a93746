//! How a life is written down: each change of a job's state with the event that tells of it.

use std::time::Duration;

use mgx_protocol::{Attempt, EventKind, StateName};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{Handed, Lifecycle};
use crate::event::NewEvent;
use crate::job::{Failure, Job, Outcome, State, Transition};
use crate::journal::Entry;

/// Why a job stands in line once more.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) reason: &'static str,
    /// Which try has failed, of how many there are, if they are counted.
    pub(super) tries: Option<(u32, u32)>,
    /// How long before it stands there.
    pub(super) pause: Duration,
}

impl Again {
    /// At once.
    pub(super) fn after(reason: &'static str) -> Self {
        Self { reason, tries: None, pause: Duration::ZERO }
    }

    fn data(&self) -> Map<String, Value> {
        let mut data = Map::from_iter([("reason".to_owned(), json!(self.reason))]);
        if let Some((done, of)) = self.tries {
            data.insert("try".to_owned(), json!(done));
            data.insert("tries".to_owned(), json!(of));
        }
        if !self.pause.is_zero() {
            data.insert(
                "pause_ms".to_owned(),
                json!(u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX)),
            );
        }
        data
    }
}

impl Lifecycle {
    /// Back into the line as the next attempt.
    pub(super) async fn requeue(&mut self, again: &Again) -> Result<(), Handed> {
        self.core.live.set_running(self.job.id, None);
        self.turn_to(Transition::Requeue);
        self.job.attempt = Attempt(self.job.attempt.0 + 1);
        (self.job.started_at, self.job.started_up, self.job.deadline_at) = (None, None, None);
        self.happened(EventKind::Job(StateName::Queued), again.data());
        self.flush().await
    }

    /// Moves through `transition`, and writes that down with whatever was not written down before.
    pub(super) async fn advance(&mut self, transition: Transition) -> Result<(), Handed> {
        let mut data = Map::new();
        self.turn_to(transition);
        if let Some(reason) = self.job.state.reason() {
            data.insert("reason".to_owned(), json!(reason));
        }
        if let (State::Running, Some(deadline)) = (self.job.state, self.job.deadline_at) {
            data.insert("deadline_at".to_owned(), json!(deadline));
        }
        self.happened(EventKind::Job(self.job.state.name()), data);
        self.flush().await
    }

    /// Moves through `transition`; the next write says so.
    pub(super) fn pass(&mut self, transition: Transition, data: Map<String, Value>) {
        self.turn_to(transition);
        self.happened(EventKind::Job(self.job.state.name()), data);
    }

    /// Notes an event for the next write.
    pub(super) fn happened(&mut self, kind: EventKind, data: Map<String, Value>) {
        let event = self.event(kind, data);
        self.unwritten.push(event);
    }

    /// Writes down the job as it stands, and what has happened since the last time.
    pub(super) async fn flush(&mut self) -> Result<(), Handed> {
        let events = std::mem::take(&mut self.unwritten);
        self.write(Some(Job::clone(&self.job)), events).await
    }

    pub(super) fn turn_to(&mut self, transition: Transition) {
        self.job.state =
            self.job.state.after(transition).expect("this file makes only transitions that are possible");
    }

    pub(super) async fn write(&self, job: Option<Job>, events: Vec<NewEvent>) -> Result<(), Handed> {
        let entry = Entry { session: self.job.session.clone(), job, events };
        self.core.write(entry).await.map_err(|_| {
            warn!(job = %self.job.id, attempt = %self.job.attempt, "overtaken by another writer, letting go");
            Handed
        })
    }

    pub(super) fn event(&self, kind: EventKind, data: Map<String, Value>) -> NewEvent {
        let (job, attempt) = (self.job.id, self.job.attempt);
        NewEvent { at: self.core.clock.now(), job, attempt, source: None, kind, agent: None, data }
    }

    /// What went wrong, in the words that users of the seeds' platform know.
    pub(super) fn explain(&self, outcome: Outcome, error: Option<String>) -> Option<String> {
        match outcome {
            Outcome::TimedOut => {
                Some(format!("Agent task timeout after {} seconds", self.job.spec.timeout_s))
            }
            Outcome::Failed(Failure::StartFailed | Failure::ImageMissing | Failure::RuntimeLost) => {
                let error = error.unwrap_or_else(|| "the container is gone".to_owned());
                Some(format!("Failed to create or monitor agent container: {error}"))
            }
            Outcome::Succeeded
            | Outcome::Cancelled
            | Outcome::Expired
            | Outcome::Failed(Failure::FinishError | Failure::NonzeroExit | Failure::OomKilled) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_try_says_why_and_when() {
        let pause = Duration::from_secs(4);
        let counted = Again { reason: "start_failed", tries: Some((1, 3)), pause };
        insta::assert_compact_json_snapshot!(counted.data(), @r#"{"pause_ms": 4000, "reason": "start_failed", "tries": 3, "try": 1}"#);
        insta::assert_compact_json_snapshot!(Again::after("platform_restarted").data(), @r#"{"reason": "platform_restarted"}"#);
    }
}
