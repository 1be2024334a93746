//! Several processes of one platform on one MongoDB server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mgx_testkit::MongoServer;
use mgx_testkit::server::agent_runner_program;
use mgx_testkit::{Balancer, Client, Server};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

/// Three processes behind a balancer, with a store of their own. The first one schedules at the beginning.
struct Cluster {
    processes: Vec<Server>,
    balancer: Balancer,
    _store: MongoServer,
    _dir: TempDir,
}

impl Cluster {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = MongoServer::start(dir.path())?;
        let settings = format!(
            "runtime = \"process\"\nagent.runner = \"{}\"\nscheduler.max_running = 4\nstore.url = \"{}\"",
            agent_runner_program().display(),
            store.url()
        );
        let mut first = Server::start(&settings, &[]).await?;
        first.wait_until_scheduling(Duration::from_secs(5)).await?;
        let processes = vec![first.start_another().await?, first.start_another().await?];
        let processes: Vec<_> = std::iter::once(first).chain(processes).collect();
        let urls: Vec<_> = processes.iter().map(Server::url).collect();
        let balancer = Balancer::in_front_of(&urls).await?;
        Ok(Self { processes, balancer, _store: store, _dir: dir })
    }

    fn client(&self) -> Result<Client> {
        Ok(Client::new(self.balancer.url(), &self.processes[0].token()?))
    }
}

fn lines(count: u32, pause: &str) -> Value {
    let script = format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo line $i; sleep {pause}; done");
    json!({ "command": ["/bin/sh", "-c", script] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_made_on_one_process_streams_from_every_other() -> Result<()> {
    let cluster = Cluster::start().await?;
    let clients: Vec<Client> = cluster.processes.iter().map(Server::client).collect();
    for (client, status) in clients.iter().zip(["ready", "standby", "standby"]) {
        assert_eq!(client.get("/readyz").await?.1["status"], status);
    }
    let session = clients[1].session("nextjs").await?;
    let job = clients[2].submit(&session, &lines(20, "0.05")).await?;
    let mut seen = Vec::new();
    for frames in
        futures_util::future::join_all(clients.iter().map(|client| client.until_finish(&session))).await
    {
        seen.push(frames?);
    }
    let ids: Vec<u64> = seen[0].iter().map(|frame| frame.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "every number once, in order");
    assert!(seen.iter().all(|frames| *frames == seen[0]), "and everywhere the same");
    for client in &clients {
        assert_eq!(client.job(&job).await?["state"], "succeeded");
        let (status, explained) = client.get(&format!("/api/jobs/{job}/explain")).await?;
        assert_eq!(status, 200, "{explained}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_under_load_is_replaced_and_what_runs_goes_on() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let client = cluster.client()?;
    let session = client.session("nextjs").await?;
    let running = client.submit(&session, &lines(100, "0.1")).await?;
    let reader = cluster.processes[1].client();
    let begun = reader.follow(&session, 0, |frame| frame.data["data"]["text"] == "line 5").await?;
    let pids = slots(&cluster.processes[0]);
    assert!(!pids.is_empty(), "something runs");

    let (load, mut done) = (client.clone(), Vec::new());
    let (count, mut counted) = watch::channel(0);
    let other = client.session("nextjs").await?;
    let stop = tokio_util::sync::CancellationToken::new();
    let stopped = stop.clone();
    let loading = tokio::spawn(async move {
        let mut number = 0;
        while !stopped.is_cancelled() {
            number += 1;
            let job = json!({ "command": ["/bin/sh", "-c", "echo done"] });
            let accepted = submit_once(&load, &other, &job, &format!("load-{number}")).await?;
            done.push(accepted);
            count.send_replace(done.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok((other, done))
    });
    // how long the load may take, on a slow machine too
    let load_timeout = Duration::from_secs(30);
    timeout(load_timeout, counted.wait_for(|count| *count >= 15))
        .await
        .context("too little is accepted")??;

    cluster.processes[0].kill()?;
    let killed = Instant::now();
    let took = loop {
        let (status, _) =
            client.post("/api/sessions", &json!({ "framework": "nextjs" })).await.unwrap_or_default();
        if status == 201 {
            break killed.elapsed();
        }
        assert!(killed.elapsed() < Duration::from_secs(30), "no process takes over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(took <= Duration::from_secs(5), "taken over after {took:?}");
    let now = slots(&cluster.processes[1]);
    assert!(pids.iter().all(|pid| now.contains(pid)), "the same process runs on: {pids:?} of {now:?}");
    let before = *counted.borrow();
    timeout(load_timeout, counted.wait_for(|count| *count >= before + 15))
        .await
        .context("nothing goes on")??;
    stop.cancel();
    let (other, accepted) = loading.await??;

    let seen = begun.last().map_or(0, |frame| frame.id);
    let rest = reader.follow(&session, seen, |frame| frame.event == "finish").await?;
    let frames: Vec<_> = begun.iter().chain(&rest).collect();
    let ids: Vec<u64> = frames.iter().map(|frame| frame.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "every number once, in order");
    let said: Vec<_> = frames.iter().filter_map(|frame| frame.data["data"]["text"].as_str()).collect();
    assert_eq!(said, (1..=100).map(|n| format!("line {n}")).collect::<Vec<_>>(), "every line once, in order");
    assert!(frames.iter().all(|frame| frame.data["attempt"] == 1), "the same attempt");
    assert_eq!(client.job(&running).await?["state"], "succeeded");

    let mut finished = 0;
    let all = client.follow(&other, 0, |frame| {
        finished += usize::from(frame.event == "finish");
        finished == accepted.len()
    });
    let all = all.await?;
    for job in &accepted {
        let ends =
            all.iter().filter(|frame| frame.event == "finish" && frame.data["job_id"] == **job).count();
        let state = client.job(job).await?["state"].clone();
        assert!(ends == 1 && state == "succeeded", "{job}: {state}, finished {ends} times");
    }
    Ok(())
}

/// Submits a job once, by repeating the request with its key until it is accepted; its id.
async fn submit_once(client: &Client, session: &str, job: &Value, key: &str) -> Result<String> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let request = client.request(Method::POST, &format!("/api/sessions/{session}/jobs"));
        if let Ok(answer) = request.json(job).header("Idempotency-Key", key).send().await
            && answer.status() == 202
        {
            let job: Value = answer.json().await?;
            return Ok(job["job_id"].as_str().context("no job_id")?.to_owned());
        }
        anyhow::ensure!(Instant::now() < end, "{key} is not accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The pids of the runners whose environment names a slot of this platform.
fn slots(server: &Server) -> Vec<String> {
    let mark = format!("MGX_SLOT_DIR={}", server.data_dir().display());
    let mut found: Vec<String> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            name.starts_with("agent-runner")
                && environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    found.sort();
    found
}
