//! The transcript of a job: each event as lines of text, and one line of status for what is under way.

pub(super) mod outcome;
mod speech;
mod tool_calls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use mgx_client::Event;
use mgx_protocol::EventKind;

use crate::cli::out::text::{Line, Tone};
use crate::cli::out::{harmless, short};
use outcome::{Change, Finish, ModelUse, Outcome};
use speech::Speech;
use tool_calls::ToolCalls;

/// The longest line made of something a model wrote, in characters.
const WIDTH: usize = 100;

/// Writes the transcript of one job.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    /// When the first event happened.
    began: Option<Timestamp>,
    speech: Speech,
    calls: ToolCalls,
    /// What is under way, while no agent sends text and no tool runs.
    status: String,
    outcome: Outcome,
}

impl Transcript {
    /// The lines that `event` adds.
    pub(super) fn lines(&mut self, event: &Event) -> Vec<Line> {
        self.began = self.began.or(event.at);
        match &event.kind {
            EventKind::MessageDelta => return self.speech.piece(&agent(event), event.text("delta")),
            EventKind::MessageComplete => return self.speech.message(event),
            EventKind::LlmUsage => {
                self.outcome.count(event);
                return Vec::new();
            }
            EventKind::ReasoningDelta => {
                self.status = format!("{} is thinking", agent(event));
                return Vec::new();
            }
            EventKind::ToolDelta => {
                self.status = format!("{} is writing {}", agent(event), short(event.text("path"), WIDTH));
                return Vec::new();
            }
            EventKind::Job(_)
            | EventKind::JobReattached
            | EventKind::Finish
            | EventKind::Truncated
            | EventKind::LlmRefused
            | EventKind::AgentStart
            | EventKind::AgentEnd
            | EventKind::AgentError
            | EventKind::MessageReset
            | EventKind::ProviderWait
            | EventKind::ContextShortened
            | EventKind::ToolStart
            | EventKind::ToolEnd
            | EventKind::Log
            | EventKind::Custom
            | EventKind::Other(_) => {}
        }
        let mut lines = self.speech.interrupt();
        lines.extend(self.line(event));
        lines
    }

    /// What is under way.
    pub(super) fn status(&self) -> String {
        let of_calls = || self.calls.status();
        self.speech.status().or_else(of_calls).unwrap_or_else(|| self.status.clone())
    }

    /// The files that tools have changed, by path.
    pub(super) fn files(&self) -> &BTreeMap<String, Change> {
        &self.outcome.files
    }

    /// What was used of the model.
    pub(super) fn used(&self) -> ModelUse {
        self.outcome.used
    }

    /// The models that answered.
    pub(super) fn models(&self) -> &BTreeSet<String> {
        &self.outcome.models
    }

    /// How the job ended, once it has.
    pub(super) fn finish(&self) -> Option<&Finish> {
        self.outcome.finish.as_ref()
    }

    /// The line of an event that is neither speech nor usage.
    fn line(&mut self, event: &Event) -> Option<Line> {
        let (time, agent) = (self.time(event), agent(event));
        match &event.kind {
            EventKind::ToolStart => {
                self.calls.start(event);
                None
            }
            EventKind::ToolEnd => {
                let ended = self.calls.end(event);
                self.outcome.files.extend(ended.change);
                self.status = format!("{agent} is thinking");
                let tone = if ended.has_failed { Tone::Bad } else { Tone::Good };
                Some(Line::of(time, &agent, ended.text).with(tone))
            }
            EventKind::Finish => {
                let elapsed = self.began.zip(event.at).and_then(|(began, ended)| between(began, ended));
                self.outcome.finish = Some(Finish::of(event, elapsed));
                self.status.clear();
                None
            }
            EventKind::AgentStart => {
                let about =
                    [event.text("model"), event.text("stage")].into_iter().find(|text| !text.is_empty());
                let about = about.map(|text| format!(" ({})", short(text, 40))).unwrap_or_default();
                self.status = format!("{agent} is thinking");
                Some(Line::of(time, &agent, format!("begins{about}")))
            }
            EventKind::AgentEnd => {
                self.status.clear();
                let question = event.text("question");
                Some(if question.is_empty() {
                    Line::of(time, &agent, "is done")
                } else {
                    let question = format!("asks: {}", short(question, 8 * WIDTH));
                    Line::of(time, &agent, question).with(Tone::Waiting)
                })
            }
            EventKind::ProviderWait => {
                let wait = event.data.get("wait_ms").and_then(serde_json::Value::as_u64).unwrap_or(0);
                let wait = duration(Duration::from_millis(wait));
                self.status = format!("{agent} waits for the model's provider");
                let reason = short(event.text("reason"), 2 * WIDTH);
                let text = format!("waits {wait} for the model's provider: {reason}");
                Some(Line::of(time, &agent, text).with(Tone::Waiting))
            }
            EventKind::AgentError => {
                Some(Line::said(time, &agent, short(event.text("error"), 4 * WIDTH)).with(Tone::Bad))
            }
            kind @ (EventKind::Job(_)
            | EventKind::JobReattached
            | EventKind::Truncated
            | EventKind::LlmUsage
            | EventKind::LlmRefused
            | EventKind::MessageDelta
            | EventKind::MessageReset
            | EventKind::MessageComplete
            | EventKind::ReasoningDelta
            | EventKind::ToolDelta
            | EventKind::ContextShortened
            | EventKind::Log
            | EventKind::Custom
            | EventKind::Other(_)) => {
                let what = harmless(&kind.as_str().replace('_', " "));
                let what = what.strip_prefix("job ").unwrap_or(&what);
                what.clone_into(&mut self.status);
                let tone = match kind.as_str() {
                    "job_failed" | "job_timed_out" | "job_expired" | "llm_refused" => Tone::Bad,
                    "job_stopping" | "job_cancelled" => Tone::Waiting,
                    _ => Tone::Plain,
                };
                Some(Line::new(time, format!("{what}{}", about(event))).with(tone))
            }
        }
    }

    /// Seconds from the first event to this one.
    fn time(&self, event: &Event) -> String {
        let since = self.began.zip(event.at).and_then(|(began, at)| between(began, at)).unwrap_or_default();
        format!("{:>7.1}s", since.as_secs_f64())
    }
}

/// A duration, for people.
pub(super) fn duration(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..60_000 => {
            format!("{:.1} s", Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64())
        }
        _ => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// The name of the agent that an event is about.
fn agent(event: &Event) -> String {
    event.agent.as_deref().map_or_else(|| "agent".to_owned(), |name| short(name, 30))
}

/// The texts in the data of an event that say what it is about.
fn about(event: &Event) -> String {
    let texts = ["message", "text", "reason", "error"].map(|key| event.text(key)).into_iter();
    let parts = texts.filter(|text| !text.is_empty()).map(|text| format!(": {}", short(text, WIDTH)));
    parts.collect::<Vec<_>>().concat()
}

/// The time between two events, unless the clock was set back.
fn between(began: Timestamp, ended: Timestamp) -> Option<Duration> {
    Duration::try_from(ended.duration_since(began)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn transcript(events: &[(&str, Option<&str>, Value)]) -> (Transcript, String) {
        let mut transcript = Transcript::default();
        let mut lines = Vec::new();
        for (index, (kind, agent, data)) in events.iter().enumerate() {
            let Value::Object(data) = data.clone() else { panic!("data is an object") };
            let second = i64::try_from(index).unwrap();
            lines.extend(transcript.lines(&Event {
                seq: index as u64 + 1,
                at: Timestamp::from_second(1_700_000_000 + second).ok(),
                kind: EventKind::of(kind),
                agent: agent.map(str::to_owned),
                job: None,
                data,
            }));
        }
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        (transcript, lines.join("\n"))
    }

    #[test]
    fn a_run_is_shown_line_by_line() {
        let engineer = Some("engineer");
        let (transcript, text) = transcript(&[
            ("job_queued", None, json!({"kind": "agent"})),
            ("job_running", None, json!({})),
            ("agent_start", engineer, json!({"model": "demo"})),
            ("message_delta", engineer, json!({"delta": "I will write "})),
            ("message_delta", engineer, json!({"delta": "a page.\nThen\u{1b}[2J"})),
            (
                "message_complete",
                engineer,
                json!({"content": "I will write a page.\nThen", "role": "assistant"}),
            ),
            (
                "tool_start",
                engineer,
                json!({"tool_name": "write_file", "tool_call_id": "1", "tool_args": {"path": "app/page.tsx", "content": "…"}}),
            ),
            (
                "tool_end",
                engineer,
                json!({"tool_name": "write_file", "tool_call_id": "1", "success": true, "tool_result": "ok"}),
            ),
            (
                "tool_start",
                engineer,
                json!({"tool_name": "read_file", "tool_call_id": "2", "tool_args": "{\"path\": \"x\"}"}),
            ),
            (
                "tool_end",
                engineer,
                json!({"tool_name": "read_file", "tool_call_id": "2", "success": false, "error": "no such file", "duration_ms": 3}),
            ),
            ("llm_usage", None, json!({"prompt_tokens": 10, "completion_tokens": 5})),
            ("message_complete", engineer, json!({"content": "Done.", "role": "assistant"})),
            ("agent_end", engineer, json!({})),
            ("job_stopping", None, json!({"reason": "run_timeout"})),
            ("finish", None, json!({"status": "timeout", "error": "too long"})),
        ]);
        insta::assert_snapshot!(text, @r"
         0.0s queued
         1.0s running
         2.0s engineer begins (demo)
              engineer: I will write a page.
              engineer: Then[2J
         7.0s engineer ✓ write_file app/page.tsx (1.0 s)
         9.0s engineer ✗ read_file x (3 ms) failed: no such file
              engineer: Done.
        12.0s engineer is done
        13.0s stopping: run_timeout
        ");
        assert_eq!(transcript.used(), ModelUse { requests: 1, sent: 10, received: 5 });
        assert_eq!(transcript.files(), &BTreeMap::from([("app/page.tsx".to_owned(), Change::Written)]));
        let finish = transcript.finish().expect("it has ended");
        assert_eq!((finish.status.as_str(), finish.elapsed), ("timeout", Some(Duration::from_secs(14))));
    }

    #[test]
    fn what_is_under_way_is_one_line() {
        let (mut transcript, _) =
            transcript(&[("message_delta", Some("qa"), json!({"delta": "Looking at"}))]);
        assert_eq!(transcript.status(), "qa: Looking at");
        let data = json!({"tool_name": "read_file", "tool_call_id": "1", "tool_args": {"path": "a"}});
        let Value::Object(data) = data else { panic!("an object") };
        let event = Event { seq: 2, at: None, kind: EventKind::ToolStart, agent: None, job: None, data };
        assert_eq!(transcript.lines(&event)[0].to_string(), "         qa: Looking at");
        assert_eq!(transcript.status(), "read_file a");
    }
}
