//! The end of a live view: what a job has changed, used and come to, where its files are, and what can be done next.

use std::path::Path;

use mgx_llm::DEMO_MODEL;
use mgx_protocol::{JobId, SessionId};

use super::transcript::outcome::Change;
use super::transcript::{Transcript, duration};
use crate::cli::out::{self, text::Line};

/// How many changed files are listed.
const FILES_MAX: usize = 40;

/// Prints the end. `directory` has the files, if they are on this machine.
pub(super) fn print(transcript: &Transcript, session: &SessionId, job: JobId, directory: Option<&Path>) {
    files(transcript);
    let used = transcript.used();
    let models: Vec<&str> = transcript.models().iter().map(String::as_str).collect();
    out::line("");
    if used.requests > 0 {
        let used = format!(
            "{}: {} requests, {} tokens sent, {} tokens received",
            models.join(", "),
            used.requests,
            used.sent,
            used.received
        );
        show(&Line::new("model  ", used));
    }
    if models.contains(&DEMO_MODEL) {
        out::note(
            "        mgx-demo is built in and only follows a script; for a real model set OPENAI_API_KEY",
        );
    }
    let Some(finish) = transcript.finish() else { return };
    if let Some(elapsed) = finish.elapsed {
        show(&Line::new("elapsed", duration(elapsed)));
    }
    finish.lines(None).iter().for_each(show);
    for (title, text) in next(transcript, session, job, directory) {
        show(&Line::new(title, text));
    }
}

fn show(line: &Line) {
    out::line(out::rows(line));
}

fn files(transcript: &Transcript) {
    let files = transcript.files();
    if files.is_empty() {
        return;
    }
    out::line("\nfiles");
    for (path, change) in files.iter().take(FILES_MAX) {
        match change {
            Change::Written => out::line(format!("  {path}")),
            Change::Deleted => out::line(format!("  {path} (deleted)")),
        }
    }
    if files.len() > FILES_MAX {
        out::line(format_args!("  and {} more", files.len() - FILES_MAX));
    }
}

/// Where the files are, and what can be done next: titles and texts.
fn next(
    transcript: &Transcript,
    session: &SessionId,
    job: JobId,
    directory: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let written = transcript.files().iter().find(|(_, change)| **change == Change::Written);
    let mut lines = Vec::new();
    if let Some((path, _)) = written {
        match directory {
            Some(directory) => lines.push(("result ", directory.display().to_string())),
            None => lines.push(("result ", format!("in the workspace of session {session}"))),
        }
        lines.push(("look   ", format!("mgx files {session} {}", quoted(path))));
        lines.push(("fetch  ", format!("mgx files {session} --to DIR")));
    }
    let succeeded = transcript.finish().is_some_and(|finish| finish.status == "success");
    if succeeded {
        lines.push(("go on  ", format!("mgx run \"…\" --session {session}")));
    } else {
        lines.push(("go on  ", format!("mgx continue {job}  (where it stopped)")));
        lines.push(("why    ", format!("mgx events {session}")));
    }
    lines
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "._-/+@%".contains(c));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_would_read_it_differently() {
        assert_eq!(quoted("app/page.tsx"), "app/page.tsx");
        assert_eq!(quoted("app/[id]/it's $x.tsx"), r"'app/[id]/it'\''s $x.tsx'");
    }
}
