//! What the platform makes of what a container says: its events are admitted, its end is judged. Pure.

use mgx_protocol::{AgentEvent, EventKind, Exit, ExitCause, MAX_EVENT_BYTES};
use mgx_protocol::{Attempt, JobId};
use mgx_runtimes::Ended;
use serde_json::{Map, Value, json};

use crate::event::NewEvent;
use crate::history::{Said, json_len};
use crate::job::{ExitStatus, Failure, Job, Outcome};

/// How a job ended, as far as its container tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) exit: Option<ExitStatus>,
    pub(crate) error: Option<String>,
}

/// Judges an end. The result that the agent reported beats the exit code, the exit code beats silence.
pub(crate) fn of(ended: &Ended) -> Verdict {
    match ended {
        Ended::Reported(exit) => reported(exit),
        Ended::Died { code } => Verdict {
            outcome: Outcome::Failed(Failure::RuntimeLost),
            exit: Some(ExitStatus { code: Some(*code), ..ExitStatus::default() }),
            error: Some(format!("the container died with exit code {code}")),
        },
        Ended::Lost => Verdict { outcome: Outcome::Failed(Failure::RuntimeLost), exit: None, error: None },
    }
}

fn reported(exit: &Exit) -> Verdict {
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
        // whoever the platform has asked to stop has its reason to already: this one an engine or a person has stopped
        (ExitCause::Stopped, None) => (Outcome::Failed(Failure::RuntimeLost), None),
        (ExitCause::Ended, None) => {
            let how = match (exit.code, exit.signal) {
                (_, Some(signal)) => format!("the command was ended by signal {signal}"),
                (Some(code), None) => format!("the command ended with exit code {code}"),
                (None, None) => "the command ended in an unknown way".to_owned(),
            };
            (Outcome::Failed(Failure::NonzeroExit), Some(how))
        }
    };
    Verdict { outcome, exit: Some(status), error: error.or_else(|| exit.error.clone()) }
}

/// Admits an event of an agent into the log. What it may not say is kept, under another name.
pub(crate) fn admit(job: JobId, attempt: Attempt, event: AgentEvent) -> Said {
    let AgentEvent { seq, at, kind, agent, data } = event;
    let (data, bytes) = bounded(data);
    let (kind, data) = if kind.is_for_agents() {
        (kind, data)
    } else {
        let data =
            [("type".to_owned(), json!(clip(kind.as_str().to_owned()))), ("data".to_owned(), json!(data))];
        (EventKind::Custom, Map::from_iter(data))
    };
    let event = NewEvent { at, job, attempt, source: Some(seq), kind, agent: agent.map(clip), data };
    Said { event, bytes }
}

/// The data of the one event that ends a job.
pub(crate) fn finish(job: &Job) -> Map<String, Value> {
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

/// The data if it is not too large, and how many bytes it has then.
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
        let reported = reported
            .map(|success| ReportedResult { success, error: (!success).then(|| "no model".to_owned()) });
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
    fn the_state_tells_the_truth() {
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
            (Ended::Lost, failed(Failure::RuntimeLost)),
        ] {
            assert_eq!(of(&ended).outcome, outcome, "{ended:?}");
        }
    }

    #[test]
    fn an_agent_cannot_speak_for_the_platform() {
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
            assert_eq!(admit(JobId::default(), Attempt(1), event).event.kind, EventKind::Custom, "{kind:?}");
        }
    }

    #[test]
    fn an_oversized_event_keeps_its_place_but_not_its_data() {
        let data = Map::from_iter([("text".to_owned(), json!("x".repeat(MAX_EVENT_BYTES)))]);
        let event = AgentEvent { seq: 1, at: Timestamp::UNIX_EPOCH, kind: EventKind::Log, agent: None, data };
        let admitted = admit(JobId::default(), Attempt(1), event).event;
        assert_eq!((admitted.source, admitted.data.len()), (Some(1), 1));
        assert!(admitted.data["truncated_bytes"].as_u64().unwrap() > MAX_EVENT_BYTES as u64);
    }
}
