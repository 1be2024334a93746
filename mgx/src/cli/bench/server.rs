//! A server in a process of its own, with a directory that goes away.

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

use super::resident::Resident;
use super::{database, scratch};
use crate::config::Store;
use crate::data_dir;

/// How long it may take to become ready, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    token: SecretString,
    http: reqwest::Client,
}

impl Server {
    /// What `measure` measures of a server with `settings`, which has ended and is gone then. On the MongoDB server that
    /// `store` names, if it does, it has a database of its own, which stays there.
    pub(super) async fn measured<T>(
        store: &Store,
        settings: &[String],
        measure: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let scratch = scratch()?;
        let mut settings = settings.to_vec();
        if let Some(url) = store.url.get() {
            settings.push(format!("store.url = {:?}", url.expose_secret()));
            settings.push(format!("store.database = {:?}", database()));
        }
        let server = Self::start(&scratch.0, &settings).await?;
        let measured = measure(&server).await;
        server.stop().await?;
        measured
    }

    /// Starts this very program as a server in `dir`, with `settings` (lines of TOML), and waits until it accepts jobs.
    async fn start(dir: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let data = dir.join("data");
        data_dir::make(&data)?;
        // before the server would make one at the same time
        let token = data_dir::admin_token(&data)?;
        // free now; nobody else takes it in the next moment
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut file = settings.to_vec();
        file.push(format!("server.listen = \"127.0.0.1:{port}\""));
        file.push(format!("server.data_dir = \"{}\"", data.display()));
        let config = dir.join("mgx.toml");
        std::fs::write(&config, file.join("\n"))?;
        let log = File::create(dir.join("log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--config").arg(&config).arg("up").current_dir(dir);
        // what this process was told is not meant for that one
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("MGX_") || name.starts_with("MONGODB_") {
                command.env_remove(&*name);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("cannot start the server")?;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let mut server = Self { child, address: ([127, 0, 0, 1], port).into(), token, http };
        let ready = server.ready().await;
        ready.with_context(|| std::fs::read_to_string(dir.join("log")).unwrap_or_default())?;
        Ok(server)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What opens its API.
    pub(super) fn token(&self) -> &SecretString {
        &self.token
    }

    /// What it holds in memory now.
    pub(super) fn resident(&self) -> anyhow::Result<Resident> {
        Resident::of(self.process()?).context("cannot tell what the server holds")
    }

    /// Its process.
    fn process(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// GETs `path`.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// GETs `path` as a page of JSON, where there is more to choose from.
    pub(super) async fn page(&self, path: &str) -> anyhow::Result<Value> {
        let request =
            self.http.get(format!("http://{}{path}", self.address)).bearer_auth(self.token.expose_secret());
        Ok(request.header("accept", "application/json").send().await?.error_for_status()?.json().await?)
    }

    /// POSTs `body`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Submits a job to a session, which is made if it is not there. The job's id.
    pub(super) async fn submit(&self, session: &str, command: &[String]) -> anyhow::Result<String> {
        self.post("/api/sessions", &json!({ "session_id": session, "framework": "nextjs" })).await?;
        let job = self.post(&format!("/api/sessions/{session}/jobs"), &json!({ "command": command })).await?;
        Ok(job["job_id"].as_str().context("the answer names no job")?.to_owned())
    }

    /// Waits until a job has ended well, and returns it.
    pub(super) async fn ended(&self, job: &str, patience: Duration) -> anyhow::Result<Value> {
        let end = Instant::now() + patience;
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

    /// Ends it and waits until it has ended.
    async fn stop(mut self) -> anyhow::Result<()> {
        let process = i32::try_from(self.process()?).ok().and_then(Pid::from_raw);
        kill_process(process.context("the server has no process")?, Signal::TERM)?;
        timeout(PATIENCE, self.child.wait()).await.context("the server does not end")??;
        Ok(())
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        let url = format!("http://{}/readyz", self.address);
        let first = json!({ "session_id": "first", "framework": "nextjs" });
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            let is_ready =
                self.http.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK);
            // ready, and it schedules
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
