//! What a model is writing, shown while it comes: gathered, so that its events stay few.

use std::io;
use std::time::Duration;

use mgx_protocol::EventKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::team::model::error::LlmError;
use crate::team::model::reply::piece::Piece;
use crate::team::report::reporter::{EventReporter, MAX_TEXT_BYTES, cut};

/// The time between two events: ten a second can be followed by people and cost little to keep.
const INTERVAL: Duration = Duration::from_millis(100);

/// How much of the beginning of a call's arguments is looked at for its path, in bytes.
const MAX_PATH_PREFIX_BYTES: usize = 512;

/// The pieces of a reply that is being received.
#[derive(Debug)]
pub(crate) struct Deltas<'a> {
    report: &'a mut EventReporter,
    agent: &'a str,
    /// Users do not see the reply, only that the team waits for it.
    is_hidden: bool,
    gathered: Vec<Piece>,
    next: Instant,
    is_sent: bool,
    /// The call whose arguments are being written, the beginning of them, and the path in them.
    writing: (usize, String, Option<String>),
}

impl<'a> Deltas<'a> {
    /// A reply of `agent`.
    pub(crate) fn of(report: &'a mut EventReporter, agent: &'a str) -> Self {
        Self {
            report,
            agent,
            is_hidden: false,
            gathered: Vec::new(),
            next: Instant::now(),
            is_sent: false,
            writing: (0, String::new(), None),
        }
    }

    /// A reply of `agent` that users do not see.
    pub(crate) fn hidden(report: &'a mut EventReporter, agent: &'a str) -> Self {
        Self { is_hidden: true, ..Self::of(report, agent) }
    }

    /// Adds a piece.
    pub(crate) async fn push(&mut self, piece: Piece) -> io::Result<()> {
        if self.is_hidden {
            return Ok(());
        }
        match self.gathered.iter_mut().find(|gathered| gathered.is_of(&piece)) {
            Some(gathered) => gathered.text_mut().push_str(piece.text()),
            None => self.gathered.push(piece),
        }
        if Instant::now() >= self.next { self.flush().await } else { Ok(()) }
    }

    /// When the gathered pieces must be sent; `None` if there are none.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.gathered.is_empty()).then_some(self.next)
    }

    /// Sends the gathered pieces.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        for piece in std::mem::take(&mut self.gathered) {
            let (kind, text, data) = self.event(piece);
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rest.floor_char_boundary(MAX_TEXT_BYTES));
                rest = after;
                let mut data = data.clone();
                data["delta"] = json!(part);
                self.report.event(&kind, self.agent, data).await?;
                sent += 1;
            }
            self.is_sent = true;
        }
        self.next = Instant::now() + INTERVAL * sent;
        Ok(())
    }

    /// The event of a piece: its kind, its text, and the rest of its data.
    fn event(&mut self, piece: Piece) -> (EventKind, String, Value) {
        match piece {
            Piece::Text(text) => (EventKind::MessageDelta, text, json!({ "role": "assistant" })),
            Piece::Reasoning(text) => (EventKind::ReasoningDelta, text, json!({})),
            Piece::Arguments { tool, call, text } => {
                if self.writing.0 != call {
                    self.writing = (call, String::new(), None);
                }
                let (_, begin, path) = &mut self.writing;
                if path.is_none() && begin.len() < MAX_PATH_PREFIX_BYTES {
                    let end = text.floor_char_boundary(MAX_PATH_PREFIX_BYTES);
                    begin.push_str(&text[..end]);
                    *path = path_in(begin);
                }
                let mut data = json!({ "tool_name": tool, "call": call });
                if let Some(path) = path {
                    data["path"] = json!(path);
                }
                (EventKind::ToolDelta, text, data)
            }
        }
    }

    /// Tells that what was sent so far does not count: the reply begins again, for this `reason`.
    pub(crate) async fn reset(&mut self, reason: &str) -> io::Result<()> {
        self.gathered.clear();
        self.writing = (0, String::new(), None);
        if !std::mem::take(&mut self.is_sent) {
            return Ok(());
        }
        let data = json!({ "reason": cut(reason, MAX_TEXT_BYTES) });
        self.report.event(&EventKind::MessageReset, self.agent, data).await
    }

    /// Tells that the team waits before it asks the provider again, because of `error`.
    pub(crate) async fn waits(&mut self, error: &LlmError, pause: Duration, tries: u32) -> io::Result<()> {
        let wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let data =
            json!({ "reason": error.to_string(), "code": error.kind(), "wait_ms": wait_ms, "try": tries });
        self.report.event(&EventKind::ProviderWait, self.agent, data).await
    }
}

/// The path at the beginning of arguments that are being written.
fn path_in(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once("\"path\"")?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let (path, _) = value.split_once('"')?;
    Some(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_once_it_is_whole() {
        assert_eq!(path_in(r#"{"path": "app/pa"#), None);
        assert_eq!(path_in(r#"{"path" : "app/page.tsx", "con"#).as_deref(), Some("app/page.tsx"));
        assert_eq!(path_in(r#"{"content": "x"#), None);
    }
}
