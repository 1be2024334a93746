//! Sends the team's events and its final result to the runner, over the event socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use mgx_protocol::{EventKind, MAX_EVENT_BYTES, event_form};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// The longest text in an event, in bytes; a longer one is cut.
pub(crate) const MAX_TEXT_BYTES: usize = 4 * 1024;

/// The longest content of a message in an event, in bytes; a longer one is cut.
const MAX_CONTENT_BYTES: usize = 32 * 1024;

/// The longest texts in a message, which is the team's memory, from the first choice to the last, in bytes.
const MESSAGE_TEXT_BYTES: [usize; 6] = [48 * 1024, 16 * 1024, 4 * 1024, 1024, 256, 32];

/// How the team has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TeamEnd {
    /// It did what it was asked.
    Success,
    /// It did not, for this reason.
    Failed(String),
    /// The model's provider is away, and the team is to go on after this time.
    Away {
        /// What the provider says.
        reason: String,
        /// How long to wait.
        resume_after: Duration,
    },
}

/// The connection to the event socket.
#[derive(Debug)]
pub(crate) struct EventReporter {
    socket: UnixStream,
}

impl EventReporter {
    /// Connects to the event socket at `path`.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: UnixStream::connect(path).await? })
    }

    /// Sends an event of `agent`; waits while the runner's spool is full.
    ///
    /// # Errors
    /// The runner is gone.
    pub(crate) async fn event(&mut self, kind: &EventKind, agent: &str, data: Value) -> io::Result<()> {
        let data = fitting(kind, data);
        debug_assert_eq!(event_form::check(kind, &data), Ok(()), "protocol/src/event_form.rs has the fields");
        self.line(&json!({ "type": kind, "agent": agent, "data": data })).await
    }

    /// Reports how the team has ended.
    ///
    /// # Errors
    /// The runner is gone.
    pub(crate) async fn finish(&mut self, end: &TeamEnd) -> io::Result<()> {
        let data = match end {
            TeamEnd::Success => json!({ "status": "success" }),
            TeamEnd::Failed(error) => json!({ "status": "error", "error": cut(error, MAX_TEXT_BYTES) }),
            TeamEnd::Away { reason, resume_after } => {
                let seconds = resume_after.as_secs().max(1);
                json!({ "status": "error", "error": cut(reason, MAX_TEXT_BYTES), "resume_after_s": seconds })
            }
        };
        self.line(&json!({ "type": EventKind::Finish, "data": data })).await
    }

    async fn line(&mut self, line: &Value) -> io::Result<()> {
        self.socket.write_all(format!("{line}\n").as_bytes()).await
    }
}

/// `text`; if it has more than `limit` bytes, its beginning and the number of bytes that are missing.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit);
    format!("{}… ({} more bytes)", &text[..end], text.len() - end)
}

/// `data` as an object that fits into an event: long texts are cut, shorter and shorter until it does.
fn fitting(kind: &EventKind, data: Value) -> Map<String, Value> {
    let Value::Object(whole) = data else { return Map::new() };
    let is_message = *kind == EventKind::MessageComplete;
    let limits: &[usize] = if is_message { &MESSAGE_TEXT_BYTES } else { &[MAX_TEXT_BYTES, 256, 32] };
    for &limit in limits {
        let mut short = whole.clone();
        for (key, value) in &mut short {
            let is_content = !is_message && (key == "content" || key == "output");
            shorten(value, if is_content { limit * (MAX_CONTENT_BYTES / MAX_TEXT_BYTES) } else { limit });
        }
        if serde_json::to_vec(&short).is_ok_and(|data| data.len() <= MAX_EVENT_BYTES) {
            return short;
        }
    }
    [("truncated".to_owned(), Value::Bool(true))].into_iter().collect()
}

fn shorten(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) if text.len() > limit => *text = cut(text, limit),
        Value::Array(values) => values.iter_mut().for_each(|value| shorten(value, limit)),
        Value::Object(values) => values.values_mut().for_each(|value| shorten(value, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_any_size_becomes_an_event_that_fits() {
        let size = |data: Value| serde_json::to_vec(&fitting(&EventKind::Log, data)).unwrap().len();
        let control = "\u{1}".repeat(1_000_000);
        assert!(
            size(json!({ "content": control, "tool_calls": [{ "args": control }, { "args": control }] }))
                <= MAX_EVENT_BYTES
        );
        let many: Vec<_> = (0..100_000).collect();
        assert_eq!(
            Value::from(fitting(&EventKind::Log, json!({ "tool_args": { "many": many } }))),
            json!({ "truncated": true })
        );
        let small = json!({ "tool_args": { "path": "x" } });
        assert_eq!(Value::from(fitting(&EventKind::Log, small.clone())), small);
    }

    #[test]
    fn a_cut_text_says_how_much_is_missing() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("aéé", 2), "a… (4 more bytes)");
    }
}
