//! `mgx bench duel`: the same jobs at the same times on several runtimes, beside each other.
//!
//! Every runtime has a platform of its own, with its own store, in this very process; one of them works at a time. Mode
//! by mode the runtimes take turns, so that what changes on the machine meanwhile changes for all of them.

mod contender;
mod figures;
mod html;
mod lap;
mod plot;
mod table;
mod trace;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NotAName, StrDeserializer};

use super::beside::{self, Beside};
use super::slots::Memory;
use super::trial::Work;
use super::{Scratch, apart, out, scratch};
use crate::config::{Config, RuntimeName};
use crate::engine::containers;
use contender::Contender;
use figures::{Figures, Side};
use trace::{Mode, Trace};

/// The runtimes that are measured if nobody says which, as far as their engine answers.
const EVERYTHING: [RuntimeName; 4] =
    [RuntimeName::Docker, RuntimeName::PoolDocker, RuntimeName::Podman, RuntimeName::PoolPodman];

/// How much, and on what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The runtimes, such as `docker pool:docker`; by default `docker`, `pool:docker`, `podman` and `pool:podman`, as
    /// far as they are installed.
    #[arg(value_name = "RUNTIME", value_parser = runtime)]
    runtimes: Vec<RuntimeName>,
    /// How jobs come.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Mode::ALL)]
    modes: Vec<Mode>,
    /// What each job does.
    #[arg(long, value_enum, default_value_t = Work::Team)]
    work: Work,
    /// How many jobs come in each mode but the burst.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: u32,
    /// How many jobs come at once in the burst.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    burst: u32,
    /// How many jobs come in a second, on average, when they come by chance.
    #[arg(long, default_value_t = 2.0, value_parser = rate)]
    rate: f64,
    /// What chance begins with: the jobs come at the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    /// Writes a page with plots there, which needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    beside: Beside,
}

/// Measures.
pub(super) async fn run(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    let mut runtimes = if args.runtimes.is_empty() { installed(&config).await } else { Vec::new() };
    for &runtime in &args.runtimes {
        if !runtimes.contains(&runtime) {
            runtimes.push(runtime);
        }
    }
    ensure!(!runtimes.is_empty(), "no engine answers; `mgx doctor` says why");
    let once = async || measure(&config, &runtimes, args).await;
    let figures = once().await?;
    let mut report = figures.report();
    args.beside.compare(&mut report, async || Ok(once().await?.report())).await?;
    let compared = beside::lines(&report);
    if let Some(file) = &args.html {
        let page = html::page(&figures, &compared);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.json {
        out::line(report);
    } else {
        out::line(table::text(&figures));
        compared.into_iter().for_each(out::line);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(config: &Config, runtimes: &[RuntimeName], args: &Args) -> anyhow::Result<Figures> {
    let scratch = scratch()?;
    let mut sides = Vec::new();
    let mut contenders = Vec::new();
    let measured = fight(config, runtimes, args, &scratch, &mut sides, &mut contenders).await;
    for (contender, side) in contenders.into_iter().zip(&mut sides) {
        side.pool = contender.pool_report();
        contender.leave().await?;
    }
    measured?;
    Ok(Figures { seed: args.seed, rate: args.rate, sides })
}

/// Whoever is among the `contenders` afterwards has to leave, whatever came of it.
async fn fight(
    config: &Config,
    runtimes: &[RuntimeName],
    args: &Args,
    scratch: &Scratch,
    sides: &mut Vec<Side>,
    contenders: &mut Vec<Contender>,
) -> anyhow::Result<()> {
    for (number, &runtime) in runtimes.iter().enumerate() {
        // a short name, so that the sockets are there too, and go away with the rest
        let data = scratch.0.join(number.to_string());
        let config = Config { runtime, ..apart(config.clone(), data) };
        let memory = Memory::measure(&config).await;
        let memory = memory.with_context(|| format!("cannot make containers of {}", runtime.name()))?;
        sides.push(Side { runtime: runtime.name(), memory, rows: Vec::new(), pool: None });
        let contender = Contender::enter(config, args.work).await;
        contenders.push(contender.with_context(|| format!("{} does not serve", runtime.name()))?);
    }
    for contender in contenders.iter() {
        // The first job pays for what all others find warm.
        contender.run(&Trace::InTurns(1)).await?;
    }
    for &mode in &args.modes {
        let trace = Trace::of(mode, args.n, args.burst, args.rate, args.seed);
        for (contender, side) in contenders.iter().zip(sides.iter_mut()) {
            let laps = contender.run(&trace).await;
            let laps = laps.with_context(|| format!("{} on {}", mode.name(), side.runtime))?;
            side.add(mode, &laps);
            out::note(format_args!("{:<11} {:<11} {}", mode.name(), side.runtime, side.summary()));
        }
    }
    Ok(())
}

/// The runtimes whose engine answers.
async fn installed(config: &Config) -> Vec<RuntimeName> {
    let mut found = Vec::new();
    for runtime in EVERYTHING {
        let config = Config { runtime, ..config.clone() };
        if let Ok(engine) = containers(&config, "duel")
            && engine.ping().await.is_ok()
        {
            found.push(runtime);
        } else {
            out::note(format_args!("{} is left out: its engine does not answer", runtime.name()));
        }
    }
    found
}

fn runtime(name: &str) -> Result<RuntimeName, NotAName> {
    let name: StrDeserializer<'_, NotAName> = name.into_deserializer();
    RuntimeName::deserialize(name)
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("a number of jobs a second, 0.01 to 1000".to_owned()),
    }
}
