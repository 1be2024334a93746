//! What agents say: pieces of messages as whole lines, each with the name of its speaker.

use mgx_client::Event;

use super::{WIDTH, agent};
use crate::cli::out::harmless;
use crate::cli::out::text::Line;

/// In the place of a time.
const SPACE: &str = "        ";

/// The message that is being written.
#[derive(Debug, Default)]
pub(super) struct Speech {
    speaker: Option<String>,
    /// The line that is not complete yet.
    rest: String,
    /// Whether a line of this message was shown.
    has_spoken: bool,
}

impl Speech {
    /// The lines that a piece of a message completes.
    pub(super) fn piece(&mut self, speaker: &str, text: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.speaker.as_deref() != Some(speaker) {
            lines = self.interrupt();
            self.speaker = Some(speaker.to_owned());
        }
        self.rest.push_str(&harmless(text));
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            lines.extend(self.line(&line));
        }
        lines
    }

    /// The lines of a whole message, without those that its pieces have shown.
    pub(super) fn message(&mut self, event: &Event) -> Vec<Line> {
        let was_streamed = self.has_spoken || !self.rest.is_empty();
        let mut lines = self.interrupt();
        // what is said to the user; the router chooses among colleagues
        let is_said =
            matches!(event.text("role"), "assistant" | "") && event.agent.as_deref() != Some("router");
        if !was_streamed && is_said {
            self.speaker = Some(agent(event));
            for line in harmless(event.text("content")).lines() {
                lines.extend(self.line(line));
            }
            lines.extend(self.interrupt());
        }
        lines
    }

    /// Ends the message; the incomplete line, if there is one.
    pub(super) fn interrupt(&mut self) -> Vec<Line> {
        let rest = std::mem::take(&mut self.rest);
        let lines = self.line(&rest).into_iter().collect();
        *self = Self::default();
        lines
    }

    /// The end of the incomplete line.
    pub(super) fn status(&self) -> Option<String> {
        let speaker = self.speaker.as_ref().filter(|_| !self.rest.is_empty())?;
        let skip = self.rest.chars().count().saturating_sub(WIDTH);
        let tail: String = self.rest.chars().skip(skip).collect();
        Some(format!("{speaker}: {tail}"))
    }

    fn line(&mut self, line: &str) -> Option<Line> {
        let line = line.trim_end();
        let speaker = self.speaker.as_ref().filter(|_| !line.is_empty())?;
        self.has_spoken = true;
        Some(Line::said(SPACE, speaker, line))
    }
}
