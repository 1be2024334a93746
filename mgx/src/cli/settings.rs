//! `mgx config`: every setting, and where it comes from.

use std::process::ExitCode;

use super::out;
use crate::config::{self, Loaded};

/// How to show them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object on each line.
    #[arg(long, conflicts_with_all = ["markdown", "default"])]
    json: bool,
    /// The reference page of every setting (docs/configuration.md).
    #[arg(long, conflicts_with = "default")]
    markdown: bool,
    /// The built-in mgx.toml, as a start for one of your own.
    #[arg(long)]
    default: bool,
}

impl Args {
    /// What can be shown whatever the settings are.
    pub(crate) fn fixed(&self) -> Option<String> {
        match (self.markdown, self.default) {
            (true, _) => Some(config::markdown()),
            (false, true) => Some(config::EMBEDDED.to_owned()),
            (false, false) => None,
        }
    }
}

/// Shows them.
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
    for name in &loaded.unused {
        out::line(format!("# {name} is read, not used yet"));
    }
    ExitCode::SUCCESS
}
