//! One run: a server, its clients, the faults, and in the end the checker as a process of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_testkit::MongoServer;
use mgx_testkit::server::{agent_runner_program, mgx_program};
use mgx_testkit::{Balancer, Client, Dockerd, Server, Volume, WallClock};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::clients::Clients;
use crate::history::{History, Record};
use crate::nemesis::{Nemesis, Target};
use crate::out;

/// The parameters of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What jobs run in.
    #[arg(long, value_enum, default_value_t = RuntimeOption::Process)]
    runtime: RuntimeOption,
    /// What everything is kept in; a MongoDB server is one of this run's own.
    #[arg(long, value_enum, default_value_t = StoreOption::Embedded)]
    store: StoreOption,
    /// How many processes serve, behind a balancer; more than one need a MongoDB server.
    #[arg(long, default_value_t = 1)]
    processes: usize,
    /// The kinds of faults; by default all that this machine and this runtime allow.
    #[arg(long, value_enum, value_delimiter = ',')]
    nemesis: Vec<Nemesis>,
    /// Whether containers outlive the engine, if it is one of this run's own.
    #[arg(long)]
    live_restore: bool,
    /// How many cycles of faults.
    #[arg(long, default_value_t = 300)]
    cycles: u64,
    /// How many jobs have to be accepted.
    #[arg(long, default_value_t = 5000)]
    jobs: u64,
    /// The number of jobs of a flood; by default many times what the queue holds.
    #[arg(long)]
    flood: Option<u64>,
    /// The seed from which everything random is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends after so many minutes, whatever has happened by then.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The least part of the accepted jobs that has to end as expected.
    #[arg(long, default_value_t = 0.99)]
    min_right: f64,
    /// The longest that it may take until a killed server is back, or another process in its place, in milliseconds.
    #[arg(long)]
    max_start: Option<u64>,
    /// Keeps the history and the server's log in this directory.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What jobs run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RuntimeOption {
    /// Processes without containers.
    Process,
    /// A Docker engine.
    Docker,
}

/// What everything is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum StoreOption {
    /// A file.
    Embedded,
    /// A MongoDB server.
    Mongodb,
}

/// How many clients submit.
const SUBMITTERS: u64 = 6;

/// How many look at jobs.
const LOOKERS: u64 = 2;

/// How many sessions there are.
const SESSIONS: usize = 16;

/// Of how many of them every event is read live.
const LISTENERS: usize = 4;

/// How long the first process may take to schedule.
const SCHEDULING_TIMEOUT: Duration = Duration::from_secs(10);

/// The size of the store's disk, in MiB.
const DISK_MIB: u64 = 512;

/// Runs.
pub(crate) async fn run(args: Args) -> Result<()> {
    ensure!(args.cycles > 0 && args.jobs > 0, "without cycles and jobs nothing is shown");
    ensure!(
        args.processes == 1 || args.store == StoreOption::Mongodb,
        "several processes need --store mongodb"
    );
    let began = Instant::now();
    let dir = tempfile::Builder::new().prefix("mgx-chaos-").tempdir()?;
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path)?;
    let nemeses = nemeses(&args)?;
    let size = args.runtime.size();
    let name = args.runtime.name();
    let Args { seed, jobs, cycles, .. } = args;
    history.add(&Record::Run { runtime: name.to_owned(), seed, jobs, cycles, slots: size.slots });
    let mut target = target(&args, &nemeses, &dir, history.clone()).await?;
    let clients = Arc::clone(&target.clients);
    let mut tasks = JoinSet::new();
    for who in 0..SUBMITTERS {
        tasks.spawn(Arc::clone(&clients).submit(who));
    }
    for who in 0..LOOKERS {
        tasks.spawn(Arc::clone(&clients).poll_jobs(1000 + who));
    }
    for session in clients.sessions.iter().take(LISTENERS) {
        tasks.spawn(Arc::clone(&clients).follow_events(session.clone()));
    }
    let time_is_up = began + Duration::from_mins(args.minutes);
    let disturbed = target.strike(&nemeses, cycles, jobs, time_is_up).await;
    // what is not yet accepted or cancelled, and what was read of it
    clients.wanted.store(jobs, Ordering::SeqCst);
    let are_done = || clients.have_enough_accepted() && clients.have_all_cancelled();
    while disturbed.is_ok() && !are_done() && Instant::now() < time_is_up {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    clients.stopped.store(true, Ordering::SeqCst);
    if disturbed.is_ok() {
        target.note_peak()?;
        // clients that wait for an answer may still get it; a client that hangs proves nothing
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(10), all_ended).await.ok();
    }
    tasks.shutdown().await;
    history.flush()?;
    if let Some(keep) = &args.keep {
        std::fs::create_dir_all(keep)?;
        std::fs::copy(&path, keep.join("history.jsonl"))?;
    }
    let checked = match disturbed {
        Ok(()) => check(&target.server, &path, args.min_right).and_then(|()| {
            let (slowest, most) = (target.slowest_start, args.max_start.unwrap_or(u64::MAX));
            ensure!(slowest <= most, "once it took {slowest} ms until the platform served again");
            Ok(())
        }),
        Err(error) => Err(error),
    };
    if let Some(keep) = &args.keep {
        std::fs::write(keep.join("server.log"), target.server.log())?;
        for (number, other) in (2..).zip(&target.others) {
            std::fs::write(keep.join(format!("server-{number}.log")), other.log())?;
        }
        std::fs::write(
            keep.join("engine.log"),
            target.engine.as_ref().map(Dockerd::log).unwrap_or_default(),
        )?;
    }
    out(&format!("{name}, seed {seed}, {nemeses:?}, {} s", began.elapsed().as_secs()));
    checked
}

/// How many jobs run at a time, how many wait, and how many come at once.
struct Size {
    slots: u64,
    queue: u64,
    flood: u64,
}

impl RuntimeOption {
    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }

    fn size(self) -> Size {
        match self {
            Self::Process => Size { slots: 16, queue: 300, flood: 2000 },
            Self::Docker => Size { slots: 8, queue: 60, flood: 500 },
        }
    }
}

/// The kinds of faults that were named, or all that are possible here.
fn nemeses(args: &Args) -> Result<Vec<Nemesis>> {
    let mut wanted = if args.nemesis.is_empty() { Nemesis::ALL.to_vec() } else { args.nemesis.clone() };
    wanted.sort_unstable();
    wanted.dedup();
    let mut able = Vec::new();
    for nemesis in wanted {
        let wants = match nemesis {
            Nemesis::Kill | Nemesis::Stall | Nemesis::Flood => None,
            Nemesis::Engine if args.runtime == RuntimeOption::Process => Some("jobs that run in containers"),
            Nemesis::Engine => {
                (!Dockerd::is_possible()).then_some("root, and dockerd, for an engine of its own")
            }
            Nemesis::Store => (args.store == StoreOption::Embedded).then_some("--store mongodb"),
            Nemesis::Disk if args.store == StoreOption::Mongodb => Some("the embedded store"),
            Nemesis::Disk => (!Volume::is_possible()).then_some("root, mkfs.ext4, fsfreeze and loop devices"),
            Nemesis::Clock => (!WallClock::is_possible()).then_some("libfaketime (Debian: faketime)"),
        };
        match wants {
            None => able.push(nemesis),
            Some(wants) if args.nemesis.is_empty() => {
                out(&format!("without {nemesis:?}: that wants {wants}"));
            }
            Some(wants) => anyhow::bail!("{nemesis:?} wants {wants}"),
        }
    }
    Ok(able)
}

/// A server with everything that it needs, from copies of the programs, which a build meanwhile does not change.
async fn target(args: &Args, nemeses: &[Nemesis], dir: &TempDir, history: History) -> Result<Target> {
    let (program, own_runner) = (dir.path().join("mgx"), dir.path().join("agent-runner"));
    std::fs::copy(mgx_program(), &program)?;
    std::fs::copy(agent_runner_program(), &own_runner)?;
    let wants = |nemesis| nemeses.contains(&nemesis);
    let clock = wants(Nemesis::Clock).then(|| WallClock::new(dir.path())).transpose()?;
    let is_embedded = args.store == StoreOption::Embedded;
    let wants_disk =
        is_embedded && (wants(Nemesis::Disk) || (wants(Nemesis::Stall) && Volume::is_possible()));
    let store = (!is_embedded).then(|| MongoServer::start(&dir.path().join("store"))).transpose()?;
    let disk = wants_disk.then(|| Volume::new(DISK_MIB)).transpose()?;
    let engine = wants(Nemesis::Engine).then(|| Dockerd::start(args.live_restore)).transpose()?;
    let host = engine.as_ref().map(Dockerd::host);
    let size = args.runtime.size();
    let mut settings = format!(
        "agent.runner = \"{}\"\nagent.grace = \"1s\"\nscheduler.reap_every = \"5s\"\n\
         queue.max_queued = {}\nscheduler.max_running = {}\nruntime = \"{}\"\n",
        own_runner.display(),
        size.queue,
        size.slots,
        args.runtime.name(),
    );
    if let Some(disk) = &disk {
        writeln!(settings, "store.path = \"{}\"", disk.path().join("mgx.db").display())?;
    }
    if let Some(store) = &store {
        writeln!(settings, "store.url = \"{}\"", store.url())?;
    }
    if let Some(host) = &host {
        writeln!(settings, "docker.host = \"{host}\"")?;
    }
    let env = clock.as_ref().map(|clock| clock.env().to_vec()).unwrap_or_default();
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if args.runtime == RuntimeOption::Docker {
        writeln!(settings, "agent.image = \"mgx-base\"")?;
    }
    let mut server = Server::start_program(&program, &settings, &env).await?;
    if store.is_some() {
        server.wait_until_scheduling(SCHEDULING_TIMEOUT).await?;
    }
    let mut others = Vec::new();
    while others.len() + 1 < args.processes {
        others.push(server.start_another().await?);
    }
    let urls: Vec<_> = std::iter::once(&server).chain(&others).map(Server::url).collect();
    let balancer = if others.is_empty() { None } else { Some(Balancer::in_front_of(&urls).await?) };
    let url = balancer.as_ref().map_or(server.url(), Balancer::url);
    let clients = Arc::new(clients(Client::new(url, &server.token()?), args, history).await?);
    Ok(Target {
        server,
        others,
        _balancer: balancer,
        store,
        clients,
        clock,
        disk,
        engine,
        flood: args.flood.unwrap_or(size.flood),
        slowest_start: 0,
    })
}

async fn clients(client: Client, args: &Args, history: History) -> Result<Clients> {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(client.session("nextjs").await?);
    }
    Ok(Clients {
        client,
        history,
        shell: match args.runtime {
            RuntimeOption::Process => &["/bin/sh"],
            RuntimeOption::Docker => &["/bin/busybox", "sh"],
        },
        sessions,
        seed: args.seed,
        wanted: AtomicU64::new(0),
        accepted: AtomicU64::new(0),
        cancels: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        numbers: AtomicU64::new(1),
        recent: Mutex::default(),
    })
}

/// Runs the checker, which gets nothing but the history, the address and the token.
fn check(server: &Server, history: &Path, min_right: f64) -> Result<()> {
    let mut checker = Command::new(std::env::current_exe()?);
    checker.arg("check").arg("--history").arg(history).arg("--url").arg(server.url());
    checker
        .arg("--token")
        .arg(server.data_dir().join("admin.token"))
        .arg("--min-right")
        .arg(min_right.to_string());
    let status = checker.status().context("cannot start the checker")?;
    ensure!(status.success(), "the checker ended with {status}");
    Ok(())
}
