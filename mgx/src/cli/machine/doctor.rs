//! `mgx doctor`: check this machine, and print a remedy for each problem.

mod engine;
mod handover;
mod host;
mod image;
mod model;
mod oci;
mod offer;
mod podman;
mod pool;
mod proxy;
mod users;
mod writable;

use std::process::ExitCode;

use serde::Serialize;

use crate::cli::out::{self, Outcome};
use crate::config::{Config, Loaded, RuntimeName};
use crate::engine::{docker_host, podman_host};

/// How to print the findings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Jobs run, but something should be changed.
    Warn,
    /// Jobs cannot run.
    Fail,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), remedy: None }
    }

    fn warn(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn fail(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, what: what.into(), remedy: Some(remedy.into()) }
    }
}

/// Runs every check.
pub(crate) async fn run(loaded: &Loaded, args: &Args) -> Outcome {
    let mut findings = vec![settings(loaded)];
    findings.extend(loaded.ignored.iter().map(|name| {
        Finding::warn(
            "settings",
            format!("{name} is set and has no effect"),
            "unset it, or leave it: it does no harm",
        )
    }));
    findings.extend(loaded.left_out.iter().map(|problem| {
        Finding::fail(
            "settings",
            problem.to_string(),
            format!("unset it, or override it with MGX_{}", problem.key.to_uppercase().replace('.', "__")),
        )
    }));
    findings.extend(runtime(&loaded.config).await);
    findings.extend(host::look(&loaded.config).await);
    findings.extend(model::look(&loaded.config).await);
    findings.extend(pool::look(&loaded.config).await);
    findings.extend(handover::look(&loaded.config));
    findings.extend(proxy::look(&loaded.config));
    for finding in &findings {
        if args.json {
            out::line(serde_json::to_string(finding).unwrap_or_default());
        } else {
            show(finding);
        }
    }
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The checks of the runtime that is configured.
async fn runtime(config: &Config) -> Vec<Finding> {
    match config.runtime {
        RuntimeName::Docker | RuntimeName::PoolDocker => {
            with_offer(engine::look(config).await, &docker_host(config)).await
        }
        RuntimeName::Podman | RuntimeName::PoolPodman => {
            with_offer(podman::look(config).await, &podman_host(config)).await
        }
        RuntimeName::Process => {
            let isolation = Finding::warn(
                "runtime",
                "process: commands run without isolation",
                "set runtime to \"docker\" for anything but development",
            );
            vec![isolation, engine::runner(config)]
        }
        RuntimeName::Null => vec![Finding::warn(
            "runtime",
            "null: no job is run, and every job succeeds",
            "set runtime to \"docker\", except to measure the queue",
        )],
    }
}

/// Adds to the remedy of an engine that does not answer at `host` another one that does.
async fn with_offer(mut findings: Vec<Finding>, host: &str) -> Vec<Finding> {
    let silent = findings.iter_mut().find(|it| it.check == "engine" && it.verdict == Verdict::Fail);
    if let Some(Finding { remedy: Some(remedy), .. }) = silent
        && let Some(other) = offer::offer(host).await
    {
        remedy.push_str("; ");
        remedy.push_str(&other);
    }
    findings
}

fn settings(loaded: &Loaded) -> Finding {
    let file = loaded
        .file
        .as_ref()
        .map_or_else(|| "the built-in defaults".to_owned(), |path| path.display().to_string());
    Finding::ok("settings", file)
}

fn show(finding: &Finding) {
    let verdict = match finding.verdict {
        Verdict::Ok => console::style("ok  ").green(),
        Verdict::Warn => console::style("warn").yellow(),
        Verdict::Fail => console::style("FAIL").red().bold(),
    };
    out::line(format_args!("{verdict}  {:<9} {}", finding.check, out::harmless(&finding.what)));
    if let Some(remedy) = &finding.remedy {
        out::line(format_args!("      {:<9} → {remedy}", ""));
    }
}
