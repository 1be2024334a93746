//! How a life is written down: every change of a job's state and every event of its own, in one write each.

use mgx_agent_runner::Attempt;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{Handed, Lifecycle};
use crate::event::NewEvent;
use crate::job::{Failure, Job, Outcome, State, Transition};
use crate::journal::Entry;

impl Lifecycle {
    /// Back into the line as the next attempt.
    pub(super) async fn requeue(&mut self, reason: &str) -> Result<(), Handed> {
        self.core.live.set_running(self.job.id, None);
        self.turn_to(Transition::Requeue);
        self.job.attempt = Attempt(self.job.attempt.0 + 1);
        (self.job.started_at, self.job.started_up, self.job.deadline_at) = (None, None, None);
        let data = Map::from_iter([("reason".to_owned(), Value::from(reason))]);
        let event = self.event("job_queued", data);
        self.write(Some(self.job.clone()), vec![event]).await
    }

    /// Moves through `transitions` in one write, with one event each.
    pub(super) async fn advance(&mut self, transitions: &[Transition]) -> Result<(), Handed> {
        let mut events = Vec::with_capacity(transitions.len());
        for transition in transitions {
            self.turn_to(*transition);
            let mut data = Map::new();
            if let Some(reason) = self.job.state.reason() {
                data.insert("reason".to_owned(), json!(reason));
            }
            if let (State::Running, Some(deadline)) = (self.job.state, self.job.deadline_at) {
                data.insert("deadline_at".to_owned(), json!(deadline));
            }
            events.push(self.event(&format!("job_{}", self.job.state.name()), data));
        }
        self.write(Some(self.job.clone()), events).await
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

    pub(super) fn event(&self, kind: &str, data: Map<String, Value>) -> NewEvent {
        let (job, attempt) = (self.job.id, self.job.attempt);
        NewEvent {
            at: self.core.clock.now(),
            job,
            attempt,
            source: None,
            kind: kind.to_owned(),
            agent: None,
            data,
        }
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
