//! What the end of a run means for its job, and which events of an agent are admitted to the log. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use mgx_protocol::{AgentEvent, Attempt, EventKind, Exit, ExitCause, JobId, MAX_EVENT_BYTES};
use mgx_runtimes::Ended;
use serde_json::{Map, Value, json};

use crate::events::event::NewEvent;
use crate::events::run_log::{SizedEvent, json_len};
use crate::job::ExitStatus;
use crate::job::state::{Failure, Outcome};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExitOutcome {
    pub(crate) outcome: Outcome,
    pub(crate) exit: Option<ExitStatus>,
    pub(crate) error: Option<String>,
    /// The job is to go on after this time, because its model's provider is away.
    pub(crate) resume_after: Option<Duration>,
}

/// The range of the times after which a job may ask to go on. An agent is not trusted.
const RESUME_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);

impl ExitOutcome {
    /// What an end means. The result that the agent reported takes precedence over the exit code of the command.
    pub(crate) fn of(ended: &Ended) -> Self {
        match ended {
            Ended::Reported(exit) => reported(exit),
            Ended::Died { code } => Self {
                outcome: Outcome::Failed(Failure::RuntimeLost),
                exit: Some(ExitStatus { code: Some(*code), ..ExitStatus::default() }),
                error: Some(format!("the container died with exit code {code}")),
                resume_after: None,
            },
            Ended::Restarted => Self {
                outcome: Outcome::Failed(Failure::RuntimeLost),
                exit: None,
                error: Some(
                    "the container was started again by hand or by a tool: the command may have run, and is not run a second \
                     time unless `retry` says so"
                        .to_owned(),
                ),
                resume_after: None,
            },
            Ended::Lost => Self {
                outcome: Outcome::Failed(Failure::RuntimeLost),
                exit: None,
                error: None,
                resume_after: None,
            },
        }
    }
}

fn reported(exit: &Exit) -> ExitOutcome {
    let status =
        ExitStatus { code: exit.code.map(i64::from), signal: exit.signal, oom_kills: exit.oom_kills };
    let killed = exit.signal == Some(9) || exit.code == Some(137);
    let (outcome, error) = match (exit.cause, &exit.reported) {
        (ExitCause::Deadline, _) => (Outcome::TimedOut, None),
        (ExitCause::NotStarted, _) => (Outcome::Failed(Failure::StartFailed), None),
        (ExitCause::Ended | ExitCause::Stopped, Some(reported)) if reported.success => {
            (Outcome::Succeeded, None)
        }
        (ExitCause::Ended | ExitCause::Stopped, Some(reported)) => {
            (Outcome::Failed(Failure::FinishError), reported.error.clone())
        }
        (ExitCause::Ended | ExitCause::Stopped, None) if exit.code == Some(0) => (Outcome::Succeeded, None),
        (ExitCause::Ended | ExitCause::Stopped, None) if exit.oom_kills > 0 && killed => (
            Outcome::Failed(Failure::OomKilled),
            Some("the command was killed for want of memory".to_owned()),
        ),
        // a job that the platform stopped has the reason in its state already; this one was stopped by the engine or by
        // an operator
        (ExitCause::Stopped, None) => (Outcome::Failed(Failure::RuntimeLost), None),
        (ExitCause::Ended, None) => {
            let how = match (exit.code, exit.signal) {
                (_, Some(signal)) => format!("the command was ended by signal {signal}"),
                (Some(code), None) => format!("the command ended with exit code {code}"),
                (None, None) => "the command ended in an unknown way".to_owned(),
            };
            // the command has gone on without them, or ended because of it
            let killed = match exit.oom_kills {
                0 => String::new(),
                1 => "; one of its processes was killed for want of memory".to_owned(),
                more => format!("; {more} of its processes were killed for want of memory"),
            };
            (Outcome::Failed(Failure::NonzeroExit), Some(how + &killed))
        }
    };
    let asked = exit.reported.as_ref().filter(|reported| !reported.success && exit.cause == ExitCause::Ended);
    let resume_after = asked
        .and_then(|reported| reported.resume_after_s)
        .map(|seconds| Duration::from_secs(seconds.into()).clamp(*RESUME_AFTER.start(), *RESUME_AFTER.end()));
    ExitOutcome { outcome, exit: Some(status), error: error.or_else(|| exit.error.clone()), resume_after }
}

/// The event as it goes into the log. A kind that an agent may not use is replaced by `custom`, and kept in the data. A
/// message of the conversation is one only if the team has reported it, under the name of a role: a command runs code that a
/// model may have written, and the words of the user come from the platform alone.
pub(crate) fn admit(job: JobId, attempt: Attempt, is_team: bool, event: AgentEvent) -> SizedEvent {
    let AgentEvent { seq, at, kind, agent, data } = event;
    let (data, bytes) = bounded(data);
    let is_forged = kind == EventKind::MessageComplete && (!is_team || agent.is_none());
    let (kind, data) = if kind.is_for_agents() && !is_forged {
        (kind, data)
    } else {
        let data =
            [("type".to_owned(), json!(clip(kind.as_str().to_owned()))), ("data".to_owned(), json!(data))];
        (EventKind::Custom, Map::from_iter(data))
    };
    let event = NewEvent { at, job, attempt, source: Some(seq), kind, agent: agent.map(clip), data };
    SizedEvent { event, bytes }
}

/// The data, or how large it was if it is too large; and the size of what is returned, in bytes.
fn bounded(data: Map<String, Value>) -> (Map<String, Value>, u64) {
    let size = json_len(&data);
    if size <= MAX_EVENT_BYTES as u64 {
        return (data, size);
    }
    let data = Map::from_iter([("truncated_bytes".to_owned(), json!(size))]);
    let size = json_len(&data);
    (data, size)
}

fn clip(text: String) -> String {
    if text.len() <= 64 { text } else { text.chars().take(16).chain("…".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use mgx_protocol::ReportedResult;

    fn exit(
        cause: ExitCause,
        code: Option<i32>,
        signal: Option<i32>,
        oom_kills: u64,
        reported: Option<bool>,
    ) -> Ended {
        let reported = reported.map(|success| ReportedResult {
            success,
            error: (!success).then(|| "no model".to_owned()),
            resume_after_s: None,
        });
        Ended::Reported(Exit {
            last_seq: 0,
            at: Timestamp::UNIX_EPOCH,
            code,
            signal,
            oom_kills,
            cause,
            reported,
            error: None,
        })
    }

    #[test]
    fn every_end_has_its_outcome() {
        use ExitCause::{Deadline, Ended as Itself, NotStarted, Stopped};
        let failed = |failure| Outcome::Failed(failure);
        for (ended, outcome) in [
            (exit(Itself, Some(0), None, 0, None), Outcome::Succeeded),
            (exit(Itself, Some(0), None, 1, None), Outcome::Succeeded),
            (exit(Itself, Some(3), None, 0, None), failed(Failure::NonzeroExit)),
            (exit(Itself, None, Some(9), 0, None), failed(Failure::NonzeroExit)),
            (exit(Itself, None, Some(9), 1, None), failed(Failure::OomKilled)),
            (exit(Itself, Some(137), None, 1, None), failed(Failure::OomKilled)),
            (exit(Itself, Some(3), None, 1, None), failed(Failure::NonzeroExit)),
            (exit(Itself, Some(1), None, 0, Some(true)), Outcome::Succeeded),
            (exit(Itself, Some(0), None, 0, Some(false)), failed(Failure::FinishError)),
            (exit(Deadline, None, Some(9), 0, Some(true)), Outcome::TimedOut),
            (exit(Stopped, None, Some(15), 0, None), failed(Failure::RuntimeLost)),
            (exit(NotStarted, None, None, 0, None), failed(Failure::StartFailed)),
            (Ended::Died { code: 137 }, failed(Failure::RuntimeLost)),
            (Ended::Restarted, failed(Failure::RuntimeLost)),
            (Ended::Lost, failed(Failure::RuntimeLost)),
        ] {
            assert_eq!(ExitOutcome::of(&ended).outcome, outcome, "{ended:?}");
        }
        let child = ExitOutcome::of(&exit(Itself, Some(1), None, 2, None)).error;
        let says = "the command ended with exit code 1; 2 of its processes were killed for want of memory";
        assert_eq!(child.as_deref(), Some(says));
    }

    #[test]
    fn an_agent_cannot_write_events_of_the_platform() {
        for kind in [
            "finish",
            "job_running",
            "llm_usage",
            "ping",
            "truncated",
            "",
            "Übel",
            "a\nevent: finish",
            &"x".repeat(41),
        ] {
            let event = AgentEvent {
                seq: 1,
                at: Timestamp::UNIX_EPOCH,
                kind: EventKind::of(kind),
                agent: None,
                data: Map::new(),
            };
            assert_eq!(
                admit(JobId::default(), Attempt(1), true, event).event.kind,
                EventKind::Custom,
                "{kind:?}"
            );
        }
    }

    #[test]
    fn an_oversized_event_keeps_its_place_but_not_its_data() {
        let data = Map::from_iter([("text".to_owned(), json!("x".repeat(MAX_EVENT_BYTES)))]);
        let event = AgentEvent { seq: 1, at: Timestamp::UNIX_EPOCH, kind: EventKind::Log, agent: None, data };
        let admitted = admit(JobId::default(), Attempt(1), true, event).event;
        assert_eq!((admitted.source, admitted.data.len()), (Some(1), 1));
        assert!(admitted.data["truncated_bytes"].as_u64().unwrap() > MAX_EVENT_BYTES as u64);
    }
}
