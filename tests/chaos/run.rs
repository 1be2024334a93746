//! One run: a server, its clients, its nemesis, and in the end the checker as a process of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_tests::server::{binary, runner};
use mgx_tests::{Engine, Server};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::clients::Clients;
use crate::history::{History, Record};
use crate::{nemesis, out};

/// How much, on what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What jobs run in.
    #[arg(long, value_enum, default_value_t = On::Process)]
    runtime: On,
    /// How often the server is killed.
    #[arg(long, default_value_t = 300)]
    cycles: u64,
    /// How many jobs have to be accepted.
    #[arg(long, default_value_t = 5000)]
    jobs: u64,
    /// Another seed, another run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends after so many minutes, whatever has happened by then.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The least part of the accepted jobs that has to come out as asked.
    #[arg(long, default_value_t = 0.99)]
    min_right: f64,
    /// Keeps the history and the server's log in this directory.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What jobs run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum On {
    /// Processes without containers.
    Process,
    /// A Docker engine.
    Docker,
}

/// How many clients submit.
const SUBMITTERS: u64 = 6;

/// How many look at jobs.
const LOOKERS: u64 = 2;

/// How many sessions there are.
const SESSIONS: usize = 16;

/// Of how many of them every event is read live.
const LISTENERS: usize = 4;

/// The agent image with a shell in it.
const IMAGE: &str = "mgx-agent-chaos:test";

/// Runs.
pub(crate) async fn run(args: Args) -> Result<()> {
    ensure!(args.cycles > 0 && args.jobs > 0, "without kills and jobs nothing is shown");
    let began = Instant::now();
    let dir = tempfile::Builder::new().prefix("mgx-chaos-").tempdir()?;
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path)?;
    let name = match args.runtime {
        On::Process => "process",
        On::Docker => "docker",
    };
    let Args { seed, jobs, cycles, .. } = args;
    history.add(&Record::Run { runtime: name.to_owned(), seed, jobs, cycles });
    let mut server = start(args.runtime, &dir).await?;
    let clients = Arc::new(clients(&server, &args, history.clone()).await?);
    let mut tasks = JoinSet::new();
    for who in 0..SUBMITTERS {
        tasks.spawn(Arc::clone(&clients).submit(who));
    }
    for who in 0..LOOKERS {
        tasks.spawn(Arc::clone(&clients).look(1000 + who));
    }
    for session in clients.sessions.iter().take(LISTENERS) {
        tasks.spawn(Arc::clone(&clients).listen(session.clone()));
    }
    let time_is_up = began + Duration::from_mins(args.minutes);
    let struck = nemesis::strike(&mut server, &clients, cycles, jobs, time_is_up).await;
    // what is not yet accepted, and what was read of it
    clients.wanted.store(jobs, Ordering::SeqCst);
    while struck.is_ok() && !clients.are_satisfied() && Instant::now() < time_is_up {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    clients.over.store(true, Ordering::SeqCst);
    if struck.is_ok() {
        // those who wait for an answer have a last chance; whoever hangs proves nothing
        let home = async { while tasks.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), home).await.ok();
    }
    tasks.shutdown().await;
    history.flush()?;
    if let Some(keep) = &args.keep {
        std::fs::create_dir_all(keep)?;
        std::fs::copy(&path, keep.join("history.jsonl"))?;
    }
    let checked = match struck {
        Ok(()) => check(&server, &path, args.min_right),
        Err(error) => Err(error),
    };
    if let Some(keep) = &args.keep {
        std::fs::write(keep.join("server.log"), server.logged())?;
    }
    out(&format!("{name}, seed {seed}, {} s", began.elapsed().as_secs()));
    checked
}

/// A server of our own, of programs of our own: a build meanwhile does not change them.
async fn start(runtime: On, dir: &TempDir) -> Result<Server> {
    let (program, own_runner) = (dir.path().join("mgx"), dir.path().join("agent-runner"));
    std::fs::copy(binary(), &program)?;
    std::fs::copy(runner(), &own_runner)?;
    let mut settings = format!(
        "agent.runner = \"{}\"\nagent.grace = \"1s\"\nscheduler.max_queued = 1000\nscheduler.reap_every = \"5s\"\n",
        own_runner.display()
    );
    match runtime {
        On::Process => settings += "runtime = \"process\"\nscheduler.max_running = 16\n",
        On::Docker => {
            // the first start makes the image without a shell
            drop(Server::start_program(&program, &settings, &[]).await?);
            Engine::busybox_image("mgx-agent:latest", IMAGE)?;
            writeln!(settings, "agent.image = \"{IMAGE}\"\nscheduler.max_running = 8")?;
        }
    }
    Server::start_program(&program, &settings, &[]).await
}

async fn clients(server: &Server, args: &Args, history: History) -> Result<Clients> {
    let client = server.client();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(client.session("nextjs").await?);
    }
    Ok(Clients {
        client,
        history,
        shell: match args.runtime {
            On::Process => &["/bin/sh"],
            On::Docker => &["/bin/busybox", "sh"],
        },
        sessions,
        seed: args.seed,
        wanted: AtomicU64::new(0),
        accepted: AtomicU64::new(0),
        over: AtomicBool::new(false),
        numbers: AtomicU64::new(1),
        recent: Mutex::default(),
    })
}

/// The checker has nothing of ours but the history, the address and the token.
fn check(server: &Server, history: &Path, min_right: f64) -> Result<()> {
    let mut checker = Command::new(std::env::current_exe()?);
    checker.arg("check").arg("--history").arg(history).arg("--url").arg(server.url());
    checker
        .arg("--token")
        .arg(server.data().join("admin.token"))
        .arg("--min-right")
        .arg(min_right.to_string());
    let status = checker.status().context("cannot start the checker")?;
    ensure!(status.success(), "the checker ended with {status}");
    Ok(())
}
