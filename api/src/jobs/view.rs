//! A job as clients see it.

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use mgx_scheduler::{Job, Outcome, QueuePosition, State};
use serde::Serialize;
use utoipa::ToSchema;

/// A job. Its environment and its command are never shown: they may hold secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// Its id; ids sort by the time of submission.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// Its session.
    #[schema(value_type = String)]
    session_id: SessionId,
    /// The user that owns it.
    user: String,
    /// The kind of work: `agent`.
    kind: &'static str,
    /// `queued`, `admitted`, `starting`, `running`, `stopping`, `succeeded`, `failed`, `cancelled`,
    /// `timed_out` or `expired`.
    state: &'static str,
    /// Why it is stopping or has ended, unless it succeeded.
    reason: Option<&'static str>,
    /// The number of the current attempt, from 1.
    attempt: u32,
    /// What the agents were asked to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    prompt: String,
    /// Seconds its command may run.
    timeout_s: u32,
    /// When it was accepted.
    queued_at: Timestamp,
    /// When its command began to run.
    started_at: Option<Timestamp>,
    /// When its command must have ended.
    deadline_at: Option<Timestamp>,
    /// When it reached its final state.
    ended_at: Option<Timestamp>,
    /// How its command ended.
    exit: Option<ExitView>,
    /// What went wrong, for people.
    error: Option<String>,
    /// Its position in the queue while it is queued; 1: it is next.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Estimated milliseconds until its turn, if there is an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_ms: Option<u64>,
    /// Its result, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultView>,
}

/// How a command ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExitView {
    /// Exit code, unless a signal ended it.
    code: Option<i64>,
    /// The signal that ended it.
    signal: Option<i32>,
    /// Processes that were killed for want of memory.
    oom_kills: u64,
}

/// The result of a job, with the words of the original task queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultView {
    /// The session.
    #[schema(value_type = String)]
    session_id: SessionId,
    /// `success`, `failed`, `timeout` or `stopped`.
    status: &'static str,
    /// What went wrong.
    error: Option<String>,
    /// Seconds from the start of the command (of the wait, if it never started) to the end.
    elapsed_seconds: f64,
}

impl JobView {
    /// `job`, and its place in the queue if it waits.
    pub(crate) fn new(job: Job, place: Option<QueuePosition>) -> Self {
        let place = place.filter(|_| job.state == State::Queued);
        Self {
            job_id: job.id,
            user: job.user,
            kind: job.spec.kind.name(),
            state: job.state.name().as_str(),
            reason: job.state.reason(),
            attempt: job.attempt.0,
            timeout_s: job.spec.timeout_s,
            queued_at: job.queued_at,
            started_at: job.started_at,
            deadline_at: job.deadline_at,
            ended_at: job.ended_at,
            exit: job.exit.map(|exit| ExitView {
                code: exit.code,
                signal: exit.signal,
                oom_kills: exit.oom_kills,
            }),
            position: place.map(|place| place.ahead as u64 + 1),
            eta_ms: place.and_then(|place| place.eta_ms),
            result: ended(job.state).map(|outcome| ResultView {
                session_id: job.session.clone(),
                status: seeds_status(outcome),
                error: job.error.clone(),
                elapsed_seconds: elapsed(job.started_at.unwrap_or(job.queued_at), job.ended_at),
            }),
            session_id: job.session,
            prompt: job.spec.prompt,
            error: job.error,
        }
    }

    /// Its id, its position in the queue and the estimated milliseconds until its turn.
    pub(crate) fn place(&self) -> (JobId, Option<u64>, Option<u64>) {
        (self.job_id, self.position, self.eta_ms)
    }

    /// The path of the job.
    pub(crate) fn location(&self) -> String {
        format!("/api/jobs/{}", self.job_id)
    }
}

fn ended(state: State) -> Option<Outcome> {
    match state {
        State::Ended(outcome) => Some(outcome),
        State::Queued | State::Admitted | State::Starting | State::Running | State::Stopping(_) => None,
    }
}

fn seeds_status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "success",
        Outcome::Failed(_) => "failed",
        Outcome::TimedOut => "timeout",
        Outcome::Cancelled => "stopped",
        Outcome::Expired => "expired",
    }
}

/// Seconds, never negative: the wall clock may have been set back meanwhile.
fn elapsed(from: Timestamp, to: Option<Timestamp>) -> f64 {
    to.map_or(0.0, |to| to.duration_since(from).as_secs_f64().max(0.0))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mgx_protocol::Attempt;
    use mgx_runtimes::Limits;
    use mgx_scheduler::{ExitStatus, Failure, JobSpec, Kind, SchedulingOptions};

    pub(crate) fn job(state: State) -> Job {
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        Job {
            id: JobId(uuid::Uuid::from_u128(7)),
            session: "demo".parse().unwrap(),
            user: "admin".into(),
            spec: JobSpec {
                kind: Kind::Agent,
                prompt: "build a todo list".into(),
                command: vec!["secret-argument".into()],
                env: [("TOKEN".to_owned(), "secret-value".to_owned())].into(),
                workdir: "/workspace".into(),
                limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
                timeout_s: 1800,
                options: SchedulingOptions::default(),
                continues: Vec::new(),
            },
            state,
            attempt: Attempt(1),
            runs: 1,
            queued_at: at(0),
            started_at: state.has_ended().then(|| at(2)),
            started_up: None,
            deadline_at: None,
            ended_at: state.has_ended().then(|| at(5)),
            exit: state.has_ended().then_some(ExitStatus { code: Some(1), signal: None, oom_kills: 0 }),
            error: state.has_ended().then(|| "Agent container exited with code 1".into()),
            provider_wait: None,
            ran_ms: 0,
            runtime: None,
        }
    }

    #[test]
    fn a_waiting_job_shows_its_place() {
        let place = QueuePosition { ahead: 3, eta_ms: Some(1500) };
        insta::assert_json_snapshot!(JobView::new(job(State::Queued), Some(place)));
    }

    #[test]
    fn an_ended_job_shows_its_result_and_no_secret() {
        let view = JobView::new(job(State::Ended(Outcome::Failed(Failure::NonzeroExit))), None);
        assert!(!serde_json::to_string(&view).unwrap().contains("secret"));
        insta::assert_json_snapshot!(view);
    }
}
