//! A platform of a test's own: the real binary, on a free port, with a directory that goes away with it.
#![expect(clippy::print_stderr, reason = "a failed test shows the server's log")]

mod vitals;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::http;
use crate::{Client, Engine};

/// How long a server may take to become ready: generous, for the machine may be busy with other tests.
const READY: Duration = Duration::from_mins(1);

/// A running platform. Dropping it kills it and removes every container and every process it made.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    dir: Arc<TempDir>,
    url: String,
    /// Its configuration, and beside it its log.
    config: PathBuf,
    settings: String,
    /// How long its log was when it was started last.
    logged_before: usize,
    child: Option<Child>,
    env: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with `settings` (TOML, dotted keys) over the defaults, and `env` in its environment.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start(settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        Self::start_program(&binary(), settings, env).await
    }

    /// The same with a `program` that is not the one of this build.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_program(program: &Path, settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::prepare_program(program, settings, env)?;
        server.up().await?;
        Ok(server)
    }

    /// A server that is not started yet.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn prepare(settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        Self::prepare_program(&binary(), settings, env)
    }

    fn prepare_program(program: &Path, settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        let dir = Arc::new(tempfile::Builder::new().prefix("mgx-").tempdir()?);
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self::prepare_in(dir, "mgx", program, settings, env)
    }

    /// Starts another process of the same platform, on a port of its own; they need a store that they can share.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn join(&self) -> Result<Self> {
        self.join_with("").await
    }

    /// The same with `more` settings.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn join_with(&self, more: &str) -> Result<Self> {
        let settings = format!("{}\n{more}", self.settings);
        let port = self.url.rsplit(':').next().unwrap_or_default();
        let others = std::fs::read_dir(self.dir.path())?.count();
        let name = format!("mgx-{port}-{others}");
        let mut other =
            Self::prepare_in(self.dir.clone(), &name, &self.program, &settings, self.env.clone())?;
        other.up().await?;
        Ok(other)
    }

    fn prepare_in(
        dir: Arc<TempDir>,
        name: &str,
        program: &Path,
        settings: &str,
        env: Vec<(String, String)>,
    ) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut file = String::new();
        writeln!(file, "server.listen = \"127.0.0.1:{port}\"")?;
        writeln!(file, "server.data_dir = \"{}\"", dir.path().join("data").display())?;
        if !settings.lines().any(|line| line.starts_with("runtime = ")) {
            writeln!(file, "runtime = \"{}\"", Engine::runtime())?;
        }
        writeln!(file, "llm.demo_pace = \"0s\"\n{settings}")?;
        let config = dir.path().join(format!("{name}.toml"));
        // it may hold a key
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&config)?
            .write_all(file.as_bytes())?;
        let url = format!("http://127.0.0.1:{port}");
        let (program, settings) = (program.to_owned(), settings.to_owned());
        Ok(Self { program, dir, url, config, settings, logged_before: 0, child: None, env })
    }

    /// Starts it again after [`kill`](Self::kill), on the same port and directory.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn up(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts it again, and does not wait.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        self.logged_before = self.logged().len();
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command(&["up"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start the server")?);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ends, or takes too long.
    pub async fn ready(&mut self) -> Result<()> {
        self.is_well("/readyz").await
    }

    /// Waits until it answers, ready or not.
    ///
    /// # Errors
    /// It ends, or takes too long.
    pub async fn answers(&mut self) -> Result<()> {
        self.is_well("/healthz").await
    }

    async fn is_well(&mut self, path: &str) -> Result<()> {
        let http = http();
        let end = Instant::now() + READY;
        while Instant::now() < end {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server ended with {status}:\n{}", self.logged());
            }
            if http.get(format!("{}{path}", self.url)).send().await.is_ok_and(|answer| answer.status() == 200)
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the server did not become ready:\n{}", self.logged())
    }

    /// Waits until this process schedules, of those that share a store.
    ///
    /// # Errors
    /// That takes longer than `patience`.
    pub async fn leads(&mut self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        while !self.is_leading() {
            ensure!(Instant::now() < end, "the server does not schedule:\n{}", self.logged());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Whether it has come to schedule since it was started last, and runs.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        let logged = self.logged();
        self.child.is_some()
            && logged.get(self.logged_before..).is_some_and(|log| log.contains("this process schedules"))
    }

    /// From the next start on, it is another program.
    pub fn replace(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// It was not running.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.as_mut().context("the server is not running")?.try_wait()?)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the server is not running")?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// SIGTERM, and its exit.
    ///
    /// # Errors
    /// It was not running, or did not end well within 20 s.
    pub fn terminate(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}:\n{}", self.logged());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        bail!("the server did not end on SIGTERM:\n{}", self.logged())
    }

    /// The command line with this server's configuration.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // what steers the tests is no setting of the server's
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MGX_"))
        {
            command.env_remove(name);
        }
        command.arg("--config").arg(&self.config).args(args);
        command.current_dir(self.dir.path()).envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    /// A client with the admin token.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.url, &self.token().unwrap_or_default())
    }

    /// The admin token.
    ///
    /// # Errors
    /// It was never started.
    pub fn token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.data().join("admin.token"))?.trim().to_owned())
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The name of the container of a session's job, which runs. One that waited in the pool is not labelled with the
    /// session; the pool's ledger says which it is.
    ///
    /// # Errors
    /// It has none.
    pub fn container_of(&self, session: &str, job: &str) -> Result<String> {
        if let Some(name) = Engine::containers_of(session)?.pop() {
            return Ok(name);
        }
        let claims = std::fs::read_dir(self.data().join("pool/claims")).context("no pool")?;
        let job = job.replace('-', "");
        let claim = claims.flatten().find(|claim| claim.file_name().to_string_lossy().starts_with(&job));
        let claim = std::fs::read(claim.context("the container is there")?.path())?;
        let claim: serde_json::Value = serde_json::from_slice(&claim)?;
        Ok(format!("mgx-{}", claim["slot"].as_str().context("a slot")?))
    }

    /// Waits until a container waits in the pool, if there is one.
    ///
    /// # Errors
    /// None does within a minute.
    pub async fn warm(&self) -> Result<()> {
        let end = Instant::now() + READY;
        while Engine::has_pool() {
            let (_, pools) = self.client().get("/api/pools").await?;
            if pools["pools"][0]["parked"].as_u64() > Some(0) {
                break;
            }
            ensure!(Instant::now() < end, "the pool stays empty: {pools}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// All that it has logged.
    #[must_use]
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}", self.logged());
        }
        Engine::remove_all_with_mounts_under(self.dir.path());
        unmount_all_under(self.dir.path());
        kill_all_of(self.dir.path());
    }
}

/// Unmounts the workspaces that a pool has mounted, and the mount that they are below.
fn unmount_all_under(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<_> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    for point in ours.into_iter().rev() {
        drop(Command::new("umount").args(["--lazy", point]).output());
    }
}

/// Kills what the runtime `process` has left: every process whose environment names a slot under `dir`.
fn kill_all_of(dir: &Path) {
    let mark = format!("MGX_SLOT_DIR={}/", dir.display());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
            && let Some(pid) = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?))
        {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// The `mgx` program of this build: `MGX_BIN`, or the one beside the tests.
#[must_use]
pub fn binary() -> PathBuf {
    // a program stands beside it, a test one directory below
    let beside = || {
        let here = std::env::current_exe().ok()?;
        here.ancestors().skip(1).take(2).map(|dir| dir.join("mgx")).find(|path| path.is_file())
    };
    let path = std::env::var_os("MGX_BIN").map(PathBuf::from).or_else(beside).unwrap_or_default();
    assert!(path.is_file(), "{} is not there: build it with `cargo build --bin mgx`", path.display());
    path
}

/// The static runner: `MGX_AGENT_RUNNER`, or the one in this build's `images`.
#[must_use]
pub fn runner() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images/agent-runner");
    let path = std::env::var_os("MGX_AGENT_RUNNER").map_or(built, PathBuf::from);
    assert!(path.is_file(), "{} is not there: build it with `just runner`", path.display());
    path
}
