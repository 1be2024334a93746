//! `mgx config`: every setting with its value, and where that comes from.

use std::process::ExitCode;

use crate::cli::out;
use crate::config::{self, Loaded};

/// How to show the settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object per line.
    #[arg(long, conflicts_with_all = ["markdown", "default"])]
    json: bool,
    /// Print the reference of every setting as Markdown (docs/configuration.md).
    #[arg(long, conflicts_with = "default")]
    markdown: bool,
    /// Print the built-in mgx.toml: every setting with its default and its meaning.
    #[arg(long)]
    default: bool,
}

impl Args {
    /// The output that does not depend on the settings of this machine, if it is asked for.
    pub(crate) fn fixed(&self) -> Option<String> {
        match (self.markdown, self.default) {
            (true, _) => Some(config::markdown()),
            (false, true) => Some(config::EMBEDDED.to_owned()),
            (false, false) => None,
        }
    }
}

/// Shows the settings.
pub(crate) fn run(loaded: &Loaded, args: &Args) -> ExitCode {
    if args.json {
        for setting in loaded.settings() {
            out::line(serde_json::to_string(setting).unwrap_or_default());
        }
        return ExitCode::SUCCESS;
    }
    let lines = loaded.settings().iter().map(|setting| format!("{} = {}", setting.key, setting.value));
    let lines: Vec<String> = lines.collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).min(60);
    for (line, setting) in lines.iter().zip(loaded.settings()) {
        out::line(format!("{line:width$}  # {}", setting.source));
    }
    for problem in &loaded.left_out {
        out::line(format!("# left out: {problem}"));
    }
    for name in &loaded.ignored {
        out::line(format!("# {name} is set and has no effect"));
    }
    ExitCode::SUCCESS
}
