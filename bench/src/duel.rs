//! `mgx bench duel`: the same jobs at the same times on several runtimes.
//!
//! Each runtime has a platform of its own, with its own store, in this process; one of them works at a time. The runtimes
//! take turns mode by mode, so that what changes on the machine meanwhile changes for all of them.

mod figures;
mod html;
mod platform;
mod plot;
mod recording_runtime;
mod stages;
mod table;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};

use crate::shared::comparison::{self, Comparison};
use crate::shared::container_memory::ContainerMemory;
use crate::shared::job_client::Workload;
use crate::shared::output;
use crate::shared::scratch::Scratch;
use crate::{Host, Overrides, RUNTIMES};
use figures::{Figures, RuntimeFigures};
use platform::DuelPlatform;
use trace::{Mode, Trace};

/// The runtimes that are measured by default, as far as their engines answer.
const DEFAULT_RUNTIMES: [&str; 4] = ["docker", "pool:docker", "podman", "pool:podman"];

/// Options of `mgx bench duel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The runtimes, such as `docker pool:docker`; by default `docker`, `pool:docker`, `podman` and `pool:podman`, as
    /// far as they are installed.
    #[arg(value_name = "RUNTIME", value_parser = runtime)]
    runtimes: Vec<&'static str>,
    /// How jobs come.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Mode::ALL)]
    modes: Vec<Mode>,
    /// What each job does.
    #[arg(long, value_enum, default_value_t = Workload::Team)]
    work: Workload,
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
    comparison: Comparison,
}

/// Measures.
pub(crate) async fn run(host: &dyn Host, args: &Args) -> anyhow::Result<ExitCode> {
    let mut runtimes = if args.runtimes.is_empty() { installed(host).await } else { Vec::new() };
    for &runtime in &args.runtimes {
        if !runtimes.contains(&runtime) {
            runtimes.push(runtime);
        }
    }
    ensure!(!runtimes.is_empty(), "no engine answers; `mgx doctor` says why");
    let once = async || measure(host, &runtimes, args).await;
    let figures = once().await?;
    let mut report = figures.report();
    args.comparison.compare(&mut report, async || Ok(once().await?.report())).await?;
    let compared = comparison::lines(&report);
    if let Some(file) = &args.html {
        let page = html::page(&figures, &compared);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if args.json {
        output::line(report);
    } else {
        output::line(table::text(&figures));
        compared.into_iter().for_each(output::line);
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(host: &dyn Host, runtimes: &[&'static str], args: &Args) -> anyhow::Result<Figures> {
    let scratch = Scratch::make()?;
    let mut figures = Vec::new();
    let mut platforms = Vec::new();
    let measured = run_all(host, runtimes, args, &scratch, &mut figures, &mut platforms).await;
    for (platform, figures) in platforms.into_iter().zip(&mut figures) {
        figures.pool = platform.pool_report();
        platform.stop().await?;
    }
    measured?;
    Ok(Figures { seed: args.seed, rate: args.rate, runtimes: figures })
}

/// Starts the platforms, and measures mode by mode. The caller stops the `platforms`, also after an error.
async fn run_all(
    host: &dyn Host,
    runtimes: &[&'static str],
    args: &Args,
    scratch: &Scratch,
    figures: &mut Vec<RuntimeFigures>,
    platforms: &mut Vec<DuelPlatform>,
) -> anyhow::Result<()> {
    for (number, &name) in runtimes.iter().enumerate() {
        // a short name, so that the sockets fit into the directory, and are removed with it
        let data_dir = scratch.path().join(number.to_string());
        let overrides = Overrides { runtime: Some(name), ..Overrides::in_dir(data_dir) };
        let memory = ContainerMemory::measure(host, &overrides).await;
        let memory = memory.with_context(|| format!("cannot make containers of {name}"))?;
        figures.push(RuntimeFigures { name, memory, rows: Vec::new(), pool: None });
        let platform = DuelPlatform::start(host, &overrides, args.work).await;
        platforms.push(platform.with_context(|| format!("{name} does not serve"))?);
    }
    for platform in platforms.iter() {
        // the first job warms up what all others use
        platform.run(&Trace::InTurns(1)).await?;
    }
    for &mode in &args.modes {
        let trace = Trace::of(mode, args.n, args.burst, args.rate, args.seed);
        for (platform, figures) in platforms.iter().zip(figures.iter_mut()) {
            let outcome = platform.run(&trace).await;
            let outcome = outcome.with_context(|| format!("{} on {}", mode.name(), figures.name))?;
            figures.add(mode, &outcome);
            output::note(format_args!("{:<11} {:<11} {}", mode.name(), figures.name, figures.summary()));
        }
    }
    Ok(())
}

/// The default runtimes whose engines answer.
async fn installed(host: &dyn Host) -> Vec<&'static str> {
    let mut found = Vec::new();
    for name in DEFAULT_RUNTIMES {
        let overrides = Overrides { runtime: Some(name), ..Overrides::in_dir(std::env::temp_dir()) };
        if let Ok(engine) = host.containers(&overrides, "duel")
            && engine.ping().await.is_ok()
        {
            found.push(name);
        } else {
            output::note(format_args!("{name} is left out: its engine does not answer"));
        }
    }
    found
}

fn runtime(name: &str) -> Result<&'static str, String> {
    RUNTIMES
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| format!("unknown runtime `{name}`, expected one of `{}`", RUNTIMES.join("`, `")))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("a number of jobs a second, 0.01 to 1000".to_owned()),
    }
}
