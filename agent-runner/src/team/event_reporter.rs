//! Sends the team's events and its final result to the runner, over the event socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use mgx_protocol::{EventKind, MAX_EVENT_BYTES};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// The longest text in an event, in bytes; a longer one is cut.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// The longest content of a message in an event, in bytes; a longer one is cut.
const MAX_CONTENT_BYTES: usize = 32 * 1024;

/// Text of a reply is sent when this much has gathered, in bytes …
const DELTA_BYTES: usize = 256;

/// … or when its first byte is this old.
const DELTA_AGE: Duration = Duration::from_millis(30);

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
        self.line(&json!({ "type": kind, "agent": agent, "data": fitting(data) })).await
    }

    /// Reports that the team has succeeded, or why it has not.
    ///
    /// # Errors
    /// The runner is gone.
    pub(crate) async fn finish(&mut self, error: Option<&str>) -> io::Result<()> {
        let data = match error {
            None => json!({ "status": "success" }),
            Some(error) => json!({ "status": "error", "error": cut(error, MAX_TEXT_BYTES) }),
        };
        self.line(&json!({ "type": EventKind::Finish, "data": data })).await
    }

    async fn line(&mut self, line: &Value) -> io::Result<()> {
        self.socket.write_all(format!("{line}\n").as_bytes()).await
    }
}

/// The text of a reply that is being received, gathered so that events stay few.
#[derive(Debug)]
pub(crate) struct Deltas<'a> {
    /// Where the text goes, and whose it is; `None` discards it.
    report: Option<(&'a mut EventReporter, &'a str)>,
    text: String,
    since: Instant,
    is_sent: bool,
}

impl<'a> Deltas<'a> {
    /// The text of a reply of `agent`.
    pub(crate) fn of(report: &'a mut EventReporter, agent: &'a str) -> Self {
        Self { report: Some((report, agent)), ..Self::discarded() }
    }

    /// The text of a reply that users do not see.
    pub(crate) fn discarded() -> Self {
        Self { report: None, text: String::new(), since: Instant::now(), is_sent: false }
    }

    /// Adds text.
    pub(crate) async fn push(&mut self, text: &str) -> io::Result<()> {
        if self.text.is_empty() {
            self.since = Instant::now();
        }
        self.text.push_str(text);
        if self.text.len() >= DELTA_BYTES { self.flush().await } else { Ok(()) }
    }

    /// When the gathered text must be sent; `None` if there is none.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.text.is_empty()).then(|| self.since + DELTA_AGE)
    }

    /// Sends the gathered text.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        let Some((report, agent)) = self.report.as_mut().filter(|_| !text.is_empty()) else { return Ok(()) };
        self.is_sent = true;
        for piece in pieces(&text, MAX_TEXT_BYTES) {
            report
                .event(&EventKind::MessageDelta, agent, json!({ "delta": piece, "role": "assistant" }))
                .await?;
        }
        Ok(())
    }

    /// Tells that the text sent so far does not count: the message begins again, for this `reason`.
    pub(crate) async fn reset(&mut self, reason: &str) -> io::Result<()> {
        self.text.clear();
        match self.report.as_mut().filter(|_| self.is_sent) {
            Some((report, agent)) => {
                self.is_sent = false;
                report
                    .event(&EventKind::MessageReset, agent, json!({ "reason": cut(reason, MAX_TEXT_BYTES) }))
                    .await
            }
            None => Ok(()),
        }
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
fn fitting(data: Value) -> Map<String, Value> {
    let Value::Object(whole) = data else { return Map::new() };
    for limit in [MAX_TEXT_BYTES, 256, 32] {
        let mut short = whole.clone();
        for (key, value) in &mut short {
            shorten(
                value,
                if key == "content" || key == "output" {
                    limit * (MAX_CONTENT_BYTES / MAX_TEXT_BYTES)
                } else {
                    limit
                },
            );
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

fn pieces(text: &str, limit: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(limit));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_any_size_becomes_an_event_that_fits() {
        let size = |data: Value| serde_json::to_vec(&fitting(data)).unwrap().len();
        let control = "\u{1}".repeat(1_000_000);
        assert!(
            size(json!({ "content": control, "tool_calls": [{ "args": control }, { "args": control }] }))
                <= MAX_EVENT_BYTES
        );
        let many: Vec<_> = (0..100_000).collect();
        assert_eq!(
            Value::from(fitting(json!({ "tool_args": { "many": many } }))),
            json!({ "truncated": true })
        );
        let small = json!({ "tool_args": { "path": "x" } });
        assert_eq!(Value::from(fitting(small.clone())), small);
    }

    #[test]
    fn a_cut_text_says_how_much_is_missing() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("aéé", 2), "a… (4 more bytes)");
        assert_eq!(pieces("aéé", 3).collect::<Vec<_>>(), ["aé", "é"]);
    }
}
