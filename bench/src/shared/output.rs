//! Output: results on standard output, progress on standard error. A stream that is closed is ignored.

use std::fmt;
use std::io::{self, Write};

use serde_json::Value;

/// Writes a line of the result.
pub(crate) fn line(text: impl fmt::Display) {
    writeln!(io::stdout(), "{text}").ok();
}

/// Writes a line of progress.
pub(crate) fn note(text: impl fmt::Display) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Writes the result: on one line for programs, or indented for people.
pub(crate) fn report(report: &Value, json: bool) {
    line(if json { report.to_string() } else { format!("{report:#}") });
}
