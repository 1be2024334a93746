//! `mgx bench memory`: what a server holds in memory while many jobs run and many more wait.
//!
//! The server is a process of its own, this very program; jobs come over HTTP, as they would from anybody.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::beside::Beside;
use super::out;
use super::resident::Resident;
use super::server::Server;
use crate::config::{Config, RuntimeName};

/// Jobs in one request.
const BATCH: u32 = 500;

/// How many bytes are asked of the agents.
const PROMPT: usize = 1024;

/// How long memory may take to come to rest: threads that are not needed end after 1.5 s, and what is free goes back to
/// the system a second after that.
const REST: Duration = Duration::from_secs(5);

/// How long jobs may take to begin or to end.
const PATIENCE: Duration = Duration::from_mins(2);

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    beside: Beside,
}

/// What runs the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum On {
    /// Nothing: they only hold their slots.
    Null,
    /// A process for each.
    Process,
}

/// What was measured.
#[derive(Debug)]
struct Figures {
    idle: Resident,
    running: Resident,
    queued: Resident,
}

/// Measures.
pub(super) async fn run(config: Config, args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.on == On::Null || args.queued == 0,
        "with processes nothing can wait, for it would begin to run when it is cleared away; add --queued 0"
    );
    let settings = settings(&config, args);
    let once = async || {
        Server::measured(&config.store, &settings, async |server| {
            Ok(measure(server, args).await?.report(args))
        })
        .await
    };
    args.beside.measure(args.json, once).await?;
    Ok(ExitCode::SUCCESS)
}

/// What differs from the defaults.
fn settings(config: &Config, args: &Args) -> Vec<String> {
    let runner = config.agent.runner.display();
    let mut settings = vec![
        format!("runtime = {:?}", args.on.name()),
        format!("scheduler.max_running = {}", args.running),
        format!("queue.max_queued = {}", args.queued.max(1)),
        "llm.demo_pace = \"0s\"".to_owned(),
    ];
    if args.on == On::Process {
        settings.push(format!("agent.runner = \"{runner}\""));
    }
    settings
}

async fn measure(server: &Server, args: &Args) -> anyhow::Result<Figures> {
    let idle = at_rest(server).await?;
    out::note(format_args!("idle: {idle}"));

    let sessions: Vec<_> = (0..args.sessions).map(|number| format!("bench-{number}")).collect();
    for session in &sessions {
        let body = json!({ "session_id": session, "framework": "nextjs" });
        server.post("/api/sessions", &body).await?;
    }
    let held = submit(server, &sessions, args.running, &json!({ "command": args.on.command() })).await?;
    all(server, &held, "running").await?;
    let running = at_rest(server).await?;
    out::note(format_args!("{} run: {running}", args.running));

    let prompt: String = "a page that says hello, and ".chars().cycle().take(PROMPT).collect();
    submit(server, &sessions, args.queued, &json!({ "prompt": prompt })).await?;
    let queued = at_rest(server).await?;
    out::note(format_args!("{} more wait: {queued}", args.queued));

    match args.on {
        On::Null => {}
        On::Process => {
            for job in &held {
                server.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
            }
            all(server, &held, "cancelled").await?;
        }
    }
    Ok(Figures { idle, running, queued })
}

/// Submits `count` jobs like `order` in batches, one session after the other, and returns their ids.
async fn submit(
    server: &Server,
    sessions: &[String],
    count: u32,
    order: &Value,
) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    let mut left = count;
    // as many for each session as can be, and no more than fit into one request
    let each = count.div_ceil(u32::try_from(sessions.len())?).clamp(1, BATCH);
    for session in sessions.iter().cycle() {
        let size = left.min(each);
        if size == 0 {
            break;
        }
        let body = json!({ "jobs": vec![order; size as usize] });
        let answer = server.post(&format!("/api/sessions/{session}/jobs:batch"), &body).await?;
        ensure!(answer["accepted"] == size, "of {size} jobs not all were accepted: {answer}");
        let results = answer["results"].as_array().into_iter().flatten();
        ids.extend(results.filter_map(|result| Some(result["job_id"].as_str()?.to_owned())));
        left -= size;
    }
    ensure!(ids.len() == count as usize, "the answers do not say the ids of the jobs");
    Ok(ids)
}

/// Waits until all of `jobs` are in `state`.
async fn all(server: &Server, jobs: &[String], state: &str) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
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
            Self::Null => RuntimeName::Null.name(),
            Self::Process => RuntimeName::Process.name(),
        }
    }

    /// What holds a slot.
    fn command(self) -> &'static [&'static str] {
        match self {
            Self::Null => &[mgx_runtimes::null::HOLD],
            Self::Process => &["sleep", "3600"],
        }
    }
}

impl Figures {
    fn report(&self, args: &Args) -> Value {
        let each = |more: Resident, less: Resident, count: u32| {
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

/// What `server` holds once it has come to rest.
async fn at_rest(server: &Server) -> anyhow::Result<Resident> {
    sleep(REST).await;
    server.resident()
}
