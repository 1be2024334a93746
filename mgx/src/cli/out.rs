//! The output of the command line: results on standard output, everything about them on standard error.

pub(crate) mod ago;
pub(crate) mod table;
pub(crate) mod text;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;

/// Writes one line of the result. If the reader has gone (`mgx ps | head -1`), the program ends without a message.
pub(crate) fn line(text: impl fmt::Display) {
    if writeln!(io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Writes one line of the result as JSON, with sorted keys.
pub(crate) fn json(value: &impl Serialize) {
    line(serde_json::to_value(value).unwrap_or_default());
}

/// Writes one line for the user, which is not part of the result.
pub(crate) fn note(text: impl fmt::Display) {
    // without standard error there is no reader
    writeln!(io::stderr(), "{text}").ok();
}

/// Decides once whether there are colours: on a terminal, unless `NO_COLOR` (no-color.org) is set or the terminal has none.
pub(crate) fn decide_on_colours() {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_colours = !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    console::set_colors_enabled(has_colours && io::stdout().is_terminal());
    console::set_colors_enabled_stderr(has_colours && io::stderr().is_terminal());
}

/// The columns of the terminal that standard output is, if it is one.
pub(crate) fn columns() -> Option<usize> {
    is_terminal().then(|| usize::from(console::Term::stdout().size().1)).filter(|columns| *columns > 0)
}

/// A line as the standard output takes it: wrapped and in colours on a terminal, and as it is everywhere else.
pub(crate) fn rows(line: &text::Line) -> String {
    match columns() {
        Some(columns) => line.rows(columns, console::colors_enabled()),
        None => line.to_string(),
    }
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Why a command ends without success: one sentence with its remedy, and the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with(1, message)
    }

    /// A failure with this exit code.
    pub(crate) fn with(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// How a command ended.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// Text of an untrusted origin without what controls a terminal: line breaks are the only control characters left, so that
/// a model cannot move the cursor, set the title or write the clipboard.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' => Some('\n'),
            '\t' => Some(' '),
            c if c.is_control() || is_direction(c) => None,
            c => Some(c),
        })
        .collect()
}

/// Whether it is an invisible character that reorders the text around it (CVE-2021-42574, "Trojan Source").
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// The first line of `text`, cut to `width` characters.
pub(crate) fn short(text: &str, width: usize) -> String {
    let text = harmless(text.trim());
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= width && text.lines().nth(1).is_none() {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_cannot_control_the_terminal() {
        assert_eq!(harmless("a\x1b]52;c;x\x07b\r\n\u{202e}c\td"), "a]52;c;xb\nc d");
    }

    #[test]
    fn long_text_is_cut_to_one_line() {
        assert_eq!(short("abc", 5), "abc");
        assert_eq!(short("abcdef", 5), "abcd…");
        assert_eq!(short("ab\ncd", 5), "ab…");
    }
}
