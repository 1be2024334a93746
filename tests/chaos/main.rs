//! Chaos: clients that submit jobs, faults that are injected into the real server, and a checker that is independent of both.
//!
//! ```text
//! chaos run --runtime process --cycles 300 --jobs 5000 --seed 1     every kind of fault
//! chaos run --runtime docker --nemesis kill,engine --live-restore   only these kinds
//! chaos check --history FILE --url URL --token FILE                 the checker alone: a process of its own
//! ```

mod checker;
mod clients;
mod final_state;
mod history;
mod nemesis;
mod run;
mod workload;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Kills a server again and again, and checks that it kept its promises.
#[derive(Debug, Parser)]
enum Chaos {
    /// Submits jobs while faults are injected, then runs the checker.
    Run(run::Args),
    /// Checks a history against what the public API says now.
    Check(Check),
}

/// What to check.
#[derive(Debug, clap::Args)]
struct Check {
    /// What the clients saw: one JSON object on each line.
    #[arg(long)]
    history: PathBuf,
    /// The server.
    #[arg(long)]
    url: String,
    /// The file of its token.
    #[arg(long)]
    token: PathBuf,
    /// The least part of the accepted jobs that has to end as expected.
    #[arg(long, default_value_t = 0.99)]
    min_right: f64,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Chaos::parse() {
        Chaos::Run(args) => runtime.block_on(run::run(args)),
        Chaos::Check(check) => runtime.block_on(run_checker(check)),
    }
}

/// Reads the final state, checks the history against it, and prints the report.
async fn run_checker(check: Check) -> Result<()> {
    let history = history::read(&check.history)?;
    let token = std::fs::read_to_string(&check.token)?;
    let client = mgx_testkit::Client::new(&check.url, token.trim());
    let found = final_state::collect(&client, &history).await?;
    let report = checker::check(&history, &found, check.min_right);
    out(&report.to_string());
    anyhow::ensure!(report.is_clean(), "the server broke its promises");
    Ok(())
}

/// Prints what people read.
#[expect(clippy::print_stdout, reason = "it is a program")]
fn out(text: &str) {
    println!("{text}");
}
