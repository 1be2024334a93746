//! `mgx bench memory`: how much of a server is in memory while many jobs run and many more wait.
//!
//! The server is a process of its own: this very program. Jobs are submitted over HTTP.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::Host;
use crate::host::{NULL, PROCESS};
use crate::shared::comparison::Comparison;
use crate::shared::output;
use crate::shared::process_memory::ProcessMemory;
use crate::shared::server::Server;

/// Jobs in one request.
const BATCH: u32 = 500;

/// Bytes of a prompt.
const PROMPT_BYTES: usize = 1024;

/// How long memory has to settle: unused threads end after 1.5 s, and free memory is returned to the system a second
/// later.
const REST: Duration = Duration::from_secs(5);

/// How long jobs may take to begin or to end.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Options of `mgx bench memory`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many jobs wait.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    queued: u32,
    /// How many jobs run.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    running: u32,
    /// How many sessions they belong to.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    sessions: u32,
    /// What runs them: nothing, or processes; with processes nothing can wait (`--queued 0`).
    #[arg(long, value_enum, default_value_t = On::Null)]
    on: On,
    /// One JSON object, nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    comparison: Comparison,
}

/// What runs the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum On {
    /// Nothing: they only hold their slots.
    Null,
    /// A process for each.
    Process,
}

/// The figures.
#[derive(Debug)]
struct Figures {
    idle: ProcessMemory,
    running: ProcessMemory,
    queued: ProcessMemory,
}

/// Measures.
pub(crate) async fn run(host: &dyn Host, args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.on == On::Null || args.queued == 0,
        "with processes no job can wait, because it would run once those before it are cancelled; add --queued 0"
    );
    let settings = settings(host, args);
    let once = async || {
        Server::serve(host, &settings, async |server| Ok(measure(server, args).await?.report(args))).await
    };
    args.comparison.measure(args.json, once).await?;
    Ok(ExitCode::SUCCESS)
}

/// Settings that differ from the defaults.
fn settings(host: &dyn Host, args: &Args) -> Vec<String> {
    let mut settings = vec![
        format!("runtime = {:?}", args.on.name()),
        format!("scheduler.max_running = {}", args.running),
        format!("queue.max_queued = {}", args.queued.max(1)),
        "llm.demo_pace = \"0s\"".to_owned(),
    ];
    if args.on == On::Process {
        settings.push(format!("agent.runner = \"{}\"", host.settings().runner.display()));
    }
    settings
}

async fn measure(server: &Server, args: &Args) -> anyhow::Result<Figures> {
    let idle = settled(server).await?;
    output::note(format_args!("idle: {idle}"));

    let sessions: Vec<_> = (0..args.sessions).map(|number| format!("bench-{number}")).collect();
    for session in &sessions {
        let body = json!({ "session_id": session, "framework": "nextjs" });
        server.post("/api/sessions", &body).await?;
    }
    let held = submit(server, &sessions, args.running, &json!({ "command": args.on.command() })).await?;
    until_all(server, &held, "running").await?;
    let running = settled(server).await?;
    output::note(format_args!("{} run: {running}", args.running));

    let prompt: String = "a page that says hello, and ".chars().cycle().take(PROMPT_BYTES).collect();
    submit(server, &sessions, args.queued, &json!({ "prompt": prompt })).await?;
    let queued = settled(server).await?;
    output::note(format_args!("{} more wait: {queued}", args.queued));

    match args.on {
        On::Null => {}
        On::Process => {
            for job in &held {
                server.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
            }
            until_all(server, &held, "cancelled").await?;
        }
    }
    Ok(Figures { idle, running, queued })
}

/// Submits `count` jobs like `job` in batches, one session after the other, and returns their ids.
async fn submit(
    server: &Server,
    sessions: &[String],
    count: u32,
    job: &Value,
) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut left = count;
    // an equal share for each session, and no more than fit into one request
    let each = count.div_ceil(u32::try_from(sessions.len())?).clamp(1, BATCH);
    for session in sessions.iter().cycle() {
        let size = left.min(each);
        if size == 0 {
            break;
        }
        let body = json!({ "jobs": vec![job; size as usize] });
        let answer = server.post(&format!("/api/sessions/{session}/jobs:batch"), &body).await?;
        ensure!(answer["accepted"] == size, "of {size} jobs not all were accepted: {answer}");
        let results = answer["results"].as_array().into_iter().flatten();
        ids.extend(results.filter_map(|result| Some(result["job_id"].as_str()?.to_owned())));
        left -= size;
    }
    ensure!(ids.len() == count as usize, "an answer names no job id");
    Ok(ids)
}

/// Waits until all of `jobs` are in `state`.
async fn until_all(server: &Server, jobs: &[String], state: &str) -> anyhow::Result<()> {
    let end = Instant::now() + TIMEOUT;
    for job in jobs {
        while server.get(&format!("/api/jobs/{job}")).await?["state"] != state {
            ensure!(Instant::now() < end, "the job {job} is not {state}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

impl On {
    fn name(self) -> &'static str {
        match self {
            Self::Null => NULL,
            Self::Process => PROCESS,
        }
    }

    /// The command that holds a slot.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Null => &[mgx_runtimes::null::HOLD],
            Self::Process => &["sleep", "3600"],
        }
    }
}

impl Figures {
    fn report(&self, args: &Args) -> Value {
        let each = |more: ProcessMemory, less: ProcessMemory, count: u32| {
            (count > 0).then(|| more.now.saturating_sub(less.now) / u64::from(count))
        };
        json!({
            "runtime": args.on.name(),
            "running": args.running,
            "queued": args.queued,
            "sessions": args.sessions,
            "idle_mib": self.idle.report(),
            "running_mib": self.running.report(),
            "loaded_mib": self.queued.report(),
            "bytes_per_running_job": each(self.running, self.idle, args.running),
            "bytes_per_queued_job": each(self.queued, self.running, args.queued),
        })
    }
}

/// The memory of `server` once it has settled.
async fn settled(server: &Server) -> anyhow::Result<ProcessMemory> {
    sleep(REST).await;
    server.memory()
}
