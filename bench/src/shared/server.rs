//! A server in a process of its own: this very program, with a directory that is removed afterwards.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::process_memory::ProcessMemory;
use super::scratch::Scratch;
use crate::Host;
use crate::host::new_database;

/// How long the server may take to become ready, and to end.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    token: SecretString,
    http: reqwest::Client,
}

impl Server {
    /// Starts a server with `settings`, runs `measure`, and stops the server. If the operator's store is a MongoDB
    /// server, the server uses a new database there, which is not removed.
    pub(crate) async fn serve<T>(
        host: &dyn Host,
        settings: &[String],
        measure: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let scratch = Scratch::make()?;
        let mut settings = settings.to_vec();
        if let Some(url) = host.settings().store_url {
            settings.push(format!("store.url = {:?}", url.expose_secret()));
            settings.push(format!("store.database = {:?}", new_database()));
        }
        let server = Self::start(host, scratch.path(), &settings).await?;
        let measured = measure(&server).await;
        server.stop().await?;
        measured
    }

    /// Starts this very program as a server in `dir`, with `settings` (lines of TOML), and waits until it accepts jobs.
    async fn start(host: &dyn Host, dir: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let data = dir.join("data");
        // the server finds the token and keeps it
        let token = host.make_data_dir(&data)?;
        // free now, and not likely to be taken before the server listens
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut file = settings.to_vec();
        file.push(format!("server.listen = \"127.0.0.1:{port}\""));
        file.push(format!("server.data_dir = \"{}\"", data.display()));
        let config = dir.join("mgx.toml");
        std::fs::write(&config, file.join("\n"))?;
        let log = File::create(dir.join("log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--config").arg(&config).arg("up").current_dir(dir);
        // settings of this process are not meant for the server
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("MGX_") || name.starts_with("MONGODB_") {
                command.env_remove(&*name);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("cannot start the server")?;
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let mut server = Self { child, address: ([127, 0, 0, 1], port).into(), token, http };
        let ready = server.ready().await;
        ready.with_context(|| std::fs::read_to_string(dir.join("log")).unwrap_or_default())?;
        Ok(server)
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token of its API.
    pub(crate) fn token(&self) -> &SecretString {
        &self.token
    }

    /// How much of the server is in memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<ProcessMemory> {
        ProcessMemory::of(self.process()?).context("cannot read how much of the server is in memory")
    }

    /// The id of its process.
    fn process(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// GETs `path`.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// GETs `path` as JSON, where the server could answer with an event stream too.
    pub(crate) async fn page(&self, path: &str) -> anyhow::Result<Value> {
        let request =
            self.http.get(format!("http://{}{path}", self.address)).bearer_auth(self.token.expose_secret());
        Ok(request.header("accept", "application/json").send().await?.error_for_status()?.json().await?)
    }

    /// POSTs `body`.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Submits a job to a session, which is made if it does not exist, and returns the job's id.
    pub(crate) async fn submit(&self, session: &str, command: &[String]) -> anyhow::Result<String> {
        self.post("/api/sessions", &json!({ "session_id": session, "framework": "nextjs" })).await?;
        let job = self.post(&format!("/api/sessions/{session}/jobs"), &json!({ "command": command })).await?;
        Ok(job["job_id"].as_str().context("the answer names no job")?.to_owned())
    }

    /// Waits until a job has succeeded, and returns it.
    pub(crate) async fn until_succeeded(&self, job: &str, timeout: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + timeout;
        loop {
            let seen = self.get(&format!("/api/jobs/{job}")).await?;
            match seen["state"].as_str().unwrap_or_default() {
                "succeeded" => return Ok(seen),
                "queued" | "admitted" | "starting" | "running" | "stopping" => {}
                other => bail!("the job is {other}: {seen}"),
            }
            ensure!(Instant::now() < end, "the job does not end: {seen}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the server, and waits until it has ended.
    async fn stop(mut self) -> anyhow::Result<()> {
        let process = i32::try_from(self.process()?).ok().and_then(Pid::from_raw);
        kill_process(process.context("the server has no process")?, Signal::TERM)?;
        timeout(TIMEOUT, self.child.wait()).await.context("the server does not end")??;
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + TIMEOUT;
        let url = format!("http://{}/readyz", self.address);
        let first = json!({ "session_id": "first", "framework": "nextjs" });
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            let is_ready =
                self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK);
            // a server that does not schedule yet refuses this
            if is_ready && self.post("/api/sessions", &first).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("the server does not become ready")
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        request = request.bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} answered {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path} answered something else"))
    }
}
