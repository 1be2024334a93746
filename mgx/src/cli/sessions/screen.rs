//! Output of a transcript: lines above a spinner on a terminal, plain lines everywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::out::{self, text::Line};

/// Shows lines, and one line of status below them.
#[derive(Debug)]
pub(crate) struct Screen {
    spinner: Option<ProgressBar>,
}

impl Screen {
    /// A screen with a spinner, if standard output is a terminal.
    pub(crate) fn open() -> Self {
        let spinner = out::is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner:.cyan} {elapsed:>4} {wide_msg:.dim}");
            let spinner = ProgressBar::new_spinner();
            spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self { spinner }
    }

    /// A screen without a spinner.
    pub(crate) fn plain() -> Self {
        Self { spinner: None }
    }

    /// Adds a line.
    pub(crate) fn line(&self, line: &Line) {
        let rows = out::rows(line);
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| out::line(rows)),
            None => out::line(rows),
        }
    }

    /// Adds a line that is not part of the result.
    pub(crate) fn note(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| out::note(text)),
            None => out::note(text),
        }
    }

    /// Sets the line of status.
    pub(crate) fn status(&self, text: String) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text);
        }
    }

    /// Hides the spinner while the user is asked a question.
    pub(crate) fn pause(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Shows the spinner again.
    pub(crate) fn resume(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Removes the spinner.
    pub(crate) fn close(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
