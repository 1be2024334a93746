//! A platform that belongs to one test: the real `mgx` on a free port, in a directory that is removed with it.

mod cleanup;
mod inspect;
mod process;
mod programs;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use anyhow::Result;
use tempfile::TempDir;

use crate::Engine;
pub use programs::{agent_runner_program, mgx_program};

/// A process of the platform. Dropping it kills it, and removes every container and process that it made.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    /// Shared by the processes of one platform.
    dir: Arc<TempDir>,
    url: String,
    /// The configuration file; the log stands beside it.
    config: PathBuf,
    settings: String,
    /// The length of the log at the last start, in bytes.
    log_length_at_start: usize,
    child: Option<Child>,
    env: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with `settings` (TOML, dotted keys) over the defaults, and `env` in its environment.
    ///
    /// # Errors
    /// The server does not become ready.
    pub async fn start(settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        Self::start_program(&mgx_program(), settings, env).await
    }

    /// The same with another `program` than the `mgx` of this build.
    ///
    /// # Errors
    /// The server does not become ready.
    pub async fn start_program(program: &Path, settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        let mut server = Self::prepare_program(program, settings, env)?;
        server.up().await?;
        Ok(server)
    }

    /// Writes the configuration of a server, and does not start it.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn prepare(settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        Self::prepare_program(&mgx_program(), settings, env)
    }

    fn prepare_program(program: &Path, settings: &str, env: &[(&str, &str)]) -> Result<Self> {
        let dir = Arc::new(tempfile::Builder::new().prefix("mgx-").tempdir()?);
        let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self::prepare_in(dir, "mgx", program, settings, env)
    }

    /// Starts another process of the same platform, on a port of its own. Their store must be one that processes can
    /// share.
    ///
    /// # Errors
    /// The process does not become ready.
    pub async fn start_another(&self) -> Result<Self> {
        self.start_another_with("").await
    }

    /// The same with `more` settings.
    ///
    /// # Errors
    /// The process does not become ready.
    pub async fn start_another_with(&self, more: &str) -> Result<Self> {
        let settings = format!("{}\n{more}", self.settings);
        let port = self.url.rsplit(':').next().unwrap_or_default();
        let files = std::fs::read_dir(self.dir.path())?.count();
        let name = format!("mgx-{port}-{files}");
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
        // readable by its owner alone, as a file with an API key in it has to be
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&config)?
            .write_all(file.as_bytes())?;
        let url = format!("http://127.0.0.1:{port}");
        let (program, settings) = (program.to_owned(), settings.to_owned());
        Ok(Self { program, dir, url, config, settings, log_length_at_start: 0, child: None, env })
    }

    /// Uses another program from the next start on.
    pub fn replace_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// The command line of `mgx` with this server's configuration.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // variables that configure the tests are not settings of the server
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MGX_"))
        {
            command.env_remove(name);
        }
        command.arg("--config").arg(&self.config).args(args);
        command.current_dir(self.dir.path()).envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }
}
