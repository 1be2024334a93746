//! The load: many clients that submit jobs at once, and the times at which their jobs are invoked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use mgx_protocol::JobId;
use mgx_runtimes::null::{HOLD, Invoked};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::shared::http_connection::{HttpConnection, Request};
use crate::shared::statistics::Latencies;

/// Connections, each with a session of its own.
const CLIENTS: u32 = 64;

/// Jobs a second while the latency is measured.
const PACED_PER_S: u32 = 1_000;

/// Jobs with which the latency is measured.
const PACED: u32 = 10_000;

/// Jobs in one batch.
const BATCH: u32 = 500;

/// Connections that send batches.
const BATCH_CLIENTS: usize = 8;

/// HTTP statuses of the answers.
const OK: u16 = 200;
const CREATED: u16 = 201;
const ACCEPTED: u16 = 202;

/// The concurrency group that the full queue waits for.
pub(super) const BACKLOG: &str = "backlog";

/// How long everything that was submitted may take to end.
const TIMEOUT: Duration = Duration::from_mins(5);

/// The clients, each with a session of its own.
pub(super) struct Load {
    clients: Vec<Client>,
    invoked: Arc<Mutex<HashMap<JobId, std::time::Instant>>>,
    _recording: AbortOnDropHandle<()>,
}

struct Client {
    connection: HttpConnection,
    session: String,
    jobs: String,
}

/// What is read of an answer that is a job.
#[derive(Deserialize)]
struct Submitted {
    job_id: JobId,
}

/// What is read of an answer to a batch.
#[derive(Deserialize)]
struct Batch {
    accepted: u32,
}

impl Load {
    /// Connects, and makes the sessions.
    pub(super) async fn start(
        address: SocketAddr,
        token: &SecretString,
        mut invocations: mpsc::Receiver<Invoked>,
    ) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut connection = HttpConnection::connect(address, token).await?;
            let session = format!("bench-{number}");
            let body = json!({ "session_id": session, "framework": "nextjs" }).to_string();
            let making = connection.post("/api/sessions", body.as_bytes());
            connection.send::<Value>(&making, CREATED).await?;
            let (jobs, session) =
                (format!("/api/sessions/{session}/jobs"), format!("/api/sessions/{session}"));
            clients.push(Client { connection, session, jobs });
        }
        let invoked: Arc<Mutex<HashMap<_, _>>> = Arc::default();
        let recorded = invoked.clone();
        let recording = tokio::spawn(async move {
            let mut group = Vec::new();
            while invocations.recv_many(&mut group, 1024).await > 0 {
                let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                recorded.extend(group.drain(..).map(|Invoked { job, at }| (job, at)));
            }
        });
        Ok(Self { clients, invoked, _recording: AbortOnDropHandle::new(recording) })
    }

    /// Jobs a second from the first request to the last final state, with `count` jobs.
    pub(super) async fn run(&mut self, count: u32) -> anyhow::Result<f64> {
        let began = Instant::now();
        self.submit(count).await?;
        self.settle().await?;
        let rate = f64::from(count) / began.elapsed().as_secs_f64();
        self.forget_invocations();
        Ok(rate)
    }

    /// Jobs a second that are accepted one by one, with `count` jobs.
    pub(super) async fn submit(&mut self, count: u32) -> anyhow::Result<f64> {
        let job = json!({ "command": ["true"] });
        let began = Instant::now();
        let submitting = self.clients.iter_mut().enumerate().map(|(number, client)| {
            let request = client.request(&job);
            async move {
                for _ in share(count, number) {
                    client.submit(&request).await?;
                }
                anyhow::Ok(())
            }
        });
        timeout(TIMEOUT, try_join_all(submitting)).await.context("it took too long")??;
        Ok(f64::from(count) / began.elapsed().as_secs_f64())
    }

    /// Jobs a second that are accepted in batches, with `count` jobs, which all wait for the same group.
    pub(super) async fn fill(&mut self, count: u32) -> anyhow::Result<f64> {
        let job = json!({ "command": ["true"], "group": { "key": BACKLOG } });
        let body = json!({ "jobs": vec![job; BATCH as usize] }).to_string();
        let batches = count.div_ceil(BATCH);
        let began = Instant::now();
        let submitting = self.clients.iter_mut().take(BATCH_CLIENTS).enumerate().map(|(number, client)| {
            let request = client.connection.post(&format!("{}:batch", client.jobs), body.as_bytes());
            async move {
                for _ in (0..batches).skip(number).step_by(BATCH_CLIENTS) {
                    let Batch { accepted } = client.connection.send(&request, ACCEPTED).await?;
                    ensure!(accepted == BATCH, "of {BATCH} jobs {accepted} were accepted");
                }
                anyhow::Ok(())
            }
        });
        timeout(TIMEOUT, try_join_all(submitting)).await.context("it took too long")??;
        Ok(f64::from(batches * BATCH) / began.elapsed().as_secs_f64())
    }

    /// From the time a request is due to the invocation of its job, for jobs that are submitted at a steady pace, whether
    /// those before have been answered or not.
    pub(super) async fn latency(&mut self) -> anyhow::Result<Latencies> {
        self.forget_invocations();
        let job = json!({ "command": ["true"] });
        let begin = Instant::now() + Duration::from_millis(50);
        let pacing = self.clients.iter_mut().enumerate().map(|(number, client)| {
            let request = client.request(&job);
            async move {
                let mut sent = Vec::new();
                for turn in share(PACED, number) {
                    let due = begin + Duration::from_secs(1) * turn / PACED_PER_S;
                    // a timer that fires late is not the fault of the server; a server that answers late is
                    let late = Instant::now() > due;
                    sleep_until(due).await;
                    let at = if late { due } else { Instant::now() };
                    sent.push((client.submit(&request).await?, at));
                }
                anyhow::Ok(sent)
            }
        });
        let sent = timeout(TIMEOUT, try_join_all(pacing)).await.context("it took too long")??.concat();
        let samples = timeout(TIMEOUT, self.dispatched(&sent)).await.context("not all were dispatched")?;
        Ok(Latencies::of(&samples))
    }

    /// Waits until all of `sent` were invoked, and returns how long each took.
    async fn dispatched(&self, sent: &[(JobId, Instant)]) -> Vec<Duration> {
        loop {
            {
                let invoked = self.invoked.lock().unwrap_or_else(PoisonError::into_inner);
                let took =
                    |(job, at): &(JobId, Instant)| Some(invoked.get(job)?.duration_since(at.into_std()));
                if let Some(all) = sent.iter().map(took).collect() {
                    return all;
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Occupies `count` slots with jobs that do not end by themselves; in `group`, if it is given.
    pub(super) async fn hold(&mut self, count: u64, group: Option<&str>) -> anyhow::Result<Vec<JobId>> {
        self.forget_invocations();
        let mut job = json!({ "command": [HOLD] });
        if let Some(group) = group {
            job["group"] = json!({ "key": group });
        }
        let client = &mut self.clients[0];
        let request = client.request(&job);
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(client.submit(&request).await?);
        }
        let sent: Vec<_> = held.iter().map(|job| (*job, Instant::now())).collect();
        timeout(TIMEOUT, self.dispatched(&sent)).await.context("the slots were not taken")?;
        Ok(held)
    }

    /// Ends the jobs that hold slots.
    pub(super) async fn release(&mut self, held: Vec<JobId>) -> anyhow::Result<()> {
        let connection = &mut self.clients[0].connection;
        for job in held {
            let cancelling = connection.post(&format!("/api/jobs/{job}/cancel"), b"");
            connection.send::<Value>(&cancelling, ACCEPTED).await?;
        }
        Ok(())
    }

    /// Waits until every job of every session is in a final state, durably.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + TIMEOUT;
        for client in &mut self.clients {
            let looking = client.connection.get(&client.session);
            while client.connection.send::<Value>(&looking, OK).await?["is_running"] != json!(false) {
                ensure!(Instant::now() < end, "the jobs of {} do not end", client.session);
                sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    fn forget_invocations(&self) {
        self.invoked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Client {
    /// The request for a job of its session.
    fn request(&self, job: &Value) -> Request {
        self.connection.post(&self.jobs, job.to_string().as_bytes())
    }

    async fn submit(&mut self, request: &Request) -> anyhow::Result<JobId> {
        let Submitted { job_id } = self.connection.send(request, ACCEPTED).await?;
        Ok(job_id)
    }
}

/// The indices among `count` jobs that client `number` submits.
fn share(count: u32, number: usize) -> impl Iterator<Item = u32> {
    (0..count).skip(number).step_by(CLIENTS as usize)
}
