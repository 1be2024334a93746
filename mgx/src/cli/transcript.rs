//! What a person is told of a run: each event as lines of text, and one line for what is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use mgx_client::Event;
use mgx_protocol::EventKind;
use serde_json::Value;

use super::out::{harmless, short};

/// The longest line made of something a model said, in characters.
const WIDTH: usize = 100;

/// How many tool calls of one run are remembered at a time; a run that opens more shows them without durations.
const MAX_CALLS: usize = 256;

/// Tells the story of one job.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    began: Option<Timestamp>,
    calls: BTreeMap<String, Call>,
    speaker: Option<String>,
    text: String,
    spoke: bool,
    doing: String,
    files: BTreeMap<String, Change>,
    used: Used,
    models: BTreeSet<String>,
    finish: Option<Finish>,
}

/// What a run has used of the model.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) requests: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finish {
    /// `success`, `error`, `stopped` or `timeout`.
    pub(crate) status: String,
    /// Why.
    pub(crate) error: Option<String>,
    /// From the first event to the last.
    pub(crate) elapsed: Option<Duration>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was written.
    Written,
    /// It was deleted.
    Deleted,
}

#[derive(Debug)]
struct Call {
    tool: String,
    path: Option<String>,
    about: String,
    at: Option<Timestamp>,
}

impl Transcript {
    /// The lines that `event` adds.
    pub(crate) fn tell(&mut self, event: &Event) -> Vec<String> {
        self.began = self.began.or(event.at);
        let mut lines = Vec::new();
        match &event.kind {
            EventKind::MessageDelta => self.hear(event, &mut lines),
            EventKind::MessageComplete => self.said(event, &mut lines),
            EventKind::ToolStart => self.call(event, &mut lines),
            EventKind::ToolEnd => self.called(event, &mut lines),
            EventKind::LlmUsage => self.count(event),
            EventKind::Finish => {
                self.hush(&mut lines);
                self.end(event);
            }
            EventKind::AgentStart => {
                self.hush(&mut lines);
                let about =
                    [event.text("model"), event.text("stage")].into_iter().find(|text| !text.is_empty());
                let about = about.map(|text| format!(" ({})", short(text, 40))).unwrap_or_default();
                lines.push(format!("{} {} begins{about}", self.time(event), name(event)));
                self.doing = format!("{} is thinking", name(event));
            }
            EventKind::AgentEnd => {
                self.hush(&mut lines);
                lines.push(format!("{} {} is done", self.time(event), name(event)));
                self.doing.clear();
            }
            EventKind::AgentError => {
                self.hush(&mut lines);
                lines.push(format!(
                    "{} {}: {}",
                    self.time(event),
                    name(event),
                    short(event.text("error"), 4 * WIDTH)
                ));
            }
            kind => {
                self.hush(&mut lines);
                let what = harmless(&kind.as_str().replace('_', " "));
                let what = what.strip_prefix("job ").unwrap_or(&what);
                let about = ["message", "text", "reason", "error"].map(|key| event.text(key)).into_iter();
                let about =
                    about.filter(|text| !text.is_empty()).map(|text| format!(": {}", short(text, WIDTH)));
                lines.push(format!("{} {what}{}", self.time(event), about.collect::<String>()));
                what.clone_into(&mut self.doing);
            }
        }
        lines
    }

    /// What is under way.
    pub(crate) fn doing(&self) -> String {
        if let (Some(speaker), false) = (&self.speaker, self.text.is_empty()) {
            return format!("{speaker}: {}", tail(&self.text, WIDTH));
        }
        match self.calls.values().next_back() {
            Some(call) => format!("{} {}", call.tool, call.about),
            None => self.doing.clone(),
        }
    }

    /// Files that were touched.
    pub(crate) fn files(&self) -> &BTreeMap<String, Change> {
        &self.files
    }

    /// What was used of the model.
    pub(crate) fn used(&self) -> Used {
        self.used
    }

    /// The models that answered.
    pub(crate) fn models(&self) -> &BTreeSet<String> {
        &self.models
    }

    /// How it ended, once it has.
    pub(crate) fn finish(&self) -> Option<&Finish> {
        self.finish.as_ref()
    }

    /// A piece of what an agent says: shown line by line.
    fn hear(&mut self, event: &Event, lines: &mut Vec<String>) {
        let speaker = name(event);
        if self.speaker.as_ref() != Some(&speaker) {
            self.hush(lines);
            self.speaker = Some(speaker);
        }
        self.text.push_str(&harmless(event.text("delta")));
        while let Some(end) = self.text.find('\n') {
            let line: String = self.text.drain(..=end).collect();
            self.speak(&line, lines);
        }
    }

    /// A whole message: news only if its pieces did not come before.
    fn said(&mut self, event: &Event, lines: &mut Vec<String>) {
        let streamed = self.spoke || !self.text.is_empty();
        self.hush(lines);
        if !streamed && event.text("role") != "tool" {
            self.speaker = Some(name(event));
            harmless(event.text("content")).lines().for_each(|line| self.speak(line, lines));
            self.hush(lines);
        }
    }

    /// The speaker is interrupted: what is left of the line is shown.
    fn hush(&mut self, lines: &mut Vec<String>) {
        let rest = std::mem::take(&mut self.text);
        self.speak(&rest, lines);
        self.speaker = None;
        self.spoke = false;
    }

    fn speak(&mut self, line: &str, lines: &mut Vec<String>) {
        let line = line.trim_end();
        if let Some(speaker) = &self.speaker
            && !line.is_empty()
        {
            lines.push(format!("         {speaker}: {line}"));
            self.spoke = true;
        }
    }

    fn call(&mut self, event: &Event, lines: &mut Vec<String>) {
        self.hush(lines);
        let arguments = arguments(event);
        let path = ["path", "file_path", "filename"].iter().find_map(|key| arguments.get(*key)?.as_str());
        let about = match (path, &arguments) {
            (Some(path), _) => path.to_owned(),
            (None, Value::Object(map)) if !map.is_empty() => arguments.to_string(),
            (None, _) => String::new(),
        };
        let call = Call {
            tool: short(event.text("tool_name"), 40),
            path: path.map(|path| short(path, 200)),
            about: short(&about, 60),
            at: event.at,
        };
        if self.calls.len() < MAX_CALLS {
            self.calls.insert(event.text("tool_call_id").to_owned(), call);
        }
    }

    fn called(&mut self, event: &Event, lines: &mut Vec<String>) {
        self.hush(lines);
        let call = self.calls.remove(event.text("tool_call_id"));
        let tool = call.as_ref().map_or_else(|| short(event.text("tool_name"), 40), |call| call.tool.clone());
        let failed = event.data.get("success") == Some(&Value::Bool(false));
        let time = event.data.get("duration_ms").and_then(Value::as_u64).map(Duration::from_millis);
        let time = time.or_else(|| between(call.as_ref()?.at?, event.at?));
        let time = time.map(|time| format!(" ({})", show(time))).unwrap_or_default();
        let about = call.as_ref().map(|call| format!(" {}", call.about)).unwrap_or_default();
        let result = if failed {
            let error =
                [event.text("error"), event.text("tool_result")].into_iter().find(|text| !text.is_empty());
            format!(" failed: {}", short(error.unwrap_or("it does not say why"), WIDTH))
        } else {
            String::new()
        };
        let mark = if failed { '✗' } else { '✓' };
        lines.push(format!(
            "{} {} {mark} {tool}{}{time}{result}",
            self.time(event),
            name(event),
            about.trim_end()
        ));
        if let (false, Some(path)) = (failed, call.and_then(|call| call.path)) {
            if ["write", "edit", "create", "append"].iter().any(|verb| tool.contains(verb)) {
                self.files.insert(path, Change::Written);
            } else if tool.contains("delete") {
                self.files.insert(path, Change::Deleted);
            }
        }
        self.doing = format!("{} is thinking", name(event));
    }

    fn count(&mut self, event: &Event) {
        let number = |key: &str| event.data.get(key).and_then(Value::as_u64).unwrap_or(0);
        self.used.requests += number("requests").max(1);
        self.used.sent += number("prompt_tokens");
        self.used.received += number("completion_tokens");
        if self.models.len() < 8 {
            self.models.insert(short(event.text("model"), 60));
        }
    }

    fn end(&mut self, event: &Event) {
        let error = event.text("error");
        self.finish = Some(Finish {
            status: harmless(event.text("status")),
            error: (!error.is_empty()).then(|| harmless(error)),
            elapsed: self.began.zip(event.at).and_then(|(began, ended)| between(began, ended)),
        });
        self.doing.clear();
    }

    /// When it happened, from the beginning of the story.
    fn time(&self, event: &Event) -> String {
        let since = self.began.zip(event.at).and_then(|(began, at)| between(began, at)).unwrap_or_default();
        format!("{:>7.1}s", since.as_secs_f64())
    }
}

/// A time, as a person would say it.
pub(crate) fn show(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..60_000 => {
            format!("{:.1} s", Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64())
        }
        _ => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

fn name(event: &Event) -> String {
    event.agent.as_deref().map_or_else(|| "agent".to_owned(), |name| short(name, 30))
}

/// The arguments of a call: an object, or the text of one.
fn arguments(event: &Event) -> Value {
    match event.data.get("tool_args") {
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Some(other) => other.clone(),
        None => Value::Null,
    }
}

fn between(began: Timestamp, ended: Timestamp) -> Option<Duration> {
    Duration::try_from(ended.duration_since(began)).ok()
}

fn tail(text: &str, width: usize) -> String {
    let skip = text.chars().count().saturating_sub(width);
    text.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tell(story: &[(&str, Option<&str>, Value)]) -> (Transcript, String) {
        let mut transcript = Transcript::default();
        let mut lines = Vec::new();
        for (index, (kind, agent, data)) in story.iter().enumerate() {
            let Value::Object(data) = data.clone() else { panic!("data is an object") };
            let second = i64::try_from(index).unwrap();
            lines.extend(transcript.tell(&Event {
                seq: index as u64 + 1,
                at: Timestamp::from_second(1_700_000_000 + second).ok(),
                kind: EventKind::of(kind),
                agent: agent.map(str::to_owned),
                job: None,
                data,
            }));
        }
        (transcript, lines.join("\n"))
    }

    #[test]
    fn a_run_reads_like_a_story() {
        let engineer = Some("engineer");
        let (transcript, text) = tell(&[
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
        assert_eq!(transcript.used(), Used { requests: 1, sent: 10, received: 5 });
        assert_eq!(transcript.files(), &BTreeMap::from([("app/page.tsx".to_owned(), Change::Written)]));
        let finish = transcript.finish().expect("it has ended");
        assert_eq!((finish.status.as_str(), finish.elapsed), ("timeout", Some(Duration::from_secs(14))));
    }

    #[test]
    fn what_is_under_way_is_one_line() {
        let (mut transcript, _) = tell(&[("message_delta", Some("qa"), json!({"delta": "Looking at"}))]);
        assert_eq!(transcript.doing(), "qa: Looking at");
        let data = json!({"tool_name": "read_file", "tool_call_id": "1", "tool_args": {"path": "a"}});
        let Value::Object(data) = data else { panic!("an object") };
        let event = Event { seq: 2, at: None, kind: "tool_start".into(), agent: None, job: None, data };
        assert_eq!(transcript.tell(&event), ["         qa: Looking at"]);
        assert_eq!(transcript.doing(), "read_file a");
    }
}
