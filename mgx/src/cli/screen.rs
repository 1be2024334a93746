//! Where a transcript is shown: lines above a spinner on a terminal, plain lines everywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::out;

/// Shows lines, and what is under way.
#[derive(Debug)]
pub(crate) struct Screen {
    spinner: Option<ProgressBar>,
}

impl Screen {
    /// A screen; quiet, if a program reads.
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

    /// Plain lines, whoever reads.
    pub(crate) fn plain() -> Self {
        Self { spinner: None }
    }

    /// Adds a line.
    pub(crate) fn line(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| out::line(text)),
            None => out::line(text),
        }
    }

    /// Adds a line that is not part of the result.
    pub(crate) fn note(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| out::note(text)),
            None => out::note(text),
        }
    }

    /// Says what is under way.
    pub(crate) fn doing(&self, text: String) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(text);
        }
    }

    /// Takes the spinner away for as long as somebody is asked something.
    pub(crate) fn pause(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Brings it back.
    pub(crate) fn resume(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes the spinner away.
    pub(crate) fn close(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
