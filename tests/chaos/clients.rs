//! The clients: they submit, cancel, look at jobs and read event streams, and share nothing but the history.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_testkit::Client;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::history::{History, Record};
use crate::workload::Workload;
use mgx_testkit::SeededRandom;

/// How many accepted jobs are remembered to be looked at.
const REMEMBERED: usize = 64;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) client: Client,
    pub(crate) history: History,
    pub(crate) shell: &'static [&'static str],
    pub(crate) sessions: Vec<String>,
    pub(crate) seed: u64,
    /// How many jobs are to be accepted so far; raised with every cycle.
    pub(crate) wanted: AtomicU64,
    /// How many jobs were accepted.
    pub(crate) accepted: AtomicU64,
    /// How many jobs are still to be cancelled: until that is answered, their commands go on for a minute.
    pub(crate) cancels: AtomicU64,
    /// Whether the clients are to end.
    pub(crate) stopped: AtomicBool,
    pub(crate) numbers: AtomicU64,
    pub(crate) recent: Mutex<Vec<String>>,
}

impl Clients {
    /// Whether as many jobs were accepted as are wanted so far.
    pub(crate) fn have_enough_accepted(&self) -> bool {
        self.accepted.load(Ordering::SeqCst) >= self.wanted.load(Ordering::SeqCst)
    }

    /// Whether every job that is to be cancelled is.
    pub(crate) fn have_all_cancelled(&self) -> bool {
        self.cancels.load(Ordering::SeqCst) == 0
    }

    fn are_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Submits jobs, as many as are wanted.
    pub(crate) async fn submit(self: Arc<Self>, topic: u64) {
        let mut random = SeededRandom::new(self.seed, topic);
        while !self.are_stopped() {
            if self.have_enough_accepted() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else {
                self.submit_one(&mut random).await;
            }
        }
    }

    /// Submits one job, even if enough are accepted.
    pub(crate) async fn submit_one(self: &Arc<Self>, random: &mut SeededRandom) {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        let pick = usize::try_from(random.in_range(0..self.sessions.len() as u64)).unwrap_or_default();
        let session = self.sessions[pick].clone();
        let workload = Workload::of(random);
        let body = workload.request(self.shell, number, random);
        self.history.add(&Record::Sent { number, session: session.clone(), workload });
        let request = self.client.request(Method::POST, &format!("/api/sessions/{session}/jobs")).json(&body);
        let record = match request.send().await {
            Err(error) if error.is_connect() => Record::Refused { number, status: 0, code: String::new() },
            Err(_) => Record::Unknown { number },
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => match answer.json::<Value>().await {
                Ok(job) => {
                    Record::Accepted { number, job: job["job_id"].as_str().unwrap_or_default().to_owned() }
                }
                Err(_) => Record::Unknown { number },
            },
            Ok(answer) => {
                let status = answer.status().as_u16();
                let problem = answer.json::<Value>().await.unwrap_or_default();
                Record::Refused {
                    number,
                    status,
                    code: problem["code"].as_str().unwrap_or_default().to_owned(),
                }
            }
        };
        self.history.add(&record);
        let Record::Accepted { job, .. } = record else {
            return tokio::time::sleep(random.millis(5..50)).await;
        };
        self.accepted.fetch_add(1, Ordering::SeqCst);
        if workload == Workload::Cancel {
            self.cancels.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(Arc::clone(self).cancel(job.clone(), random.millis(0..1000)));
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REMEMBERED {
            recent.remove(0);
        }
        recent.push(job);
    }

    /// Cancels a job after a while, until that is answered: 202 and 200 promise that it is being ended, 409 says
    /// that it has ended.
    async fn cancel(self: Arc<Self>, job: String, after: Duration) {
        tokio::time::sleep(after).await;
        while !self.are_stopped() {
            let answer = self.client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await;
            match answer.map_or(0, |(status, _)| status.as_u16()) {
                200 | 202 => {
                    self.history.add(&Record::Cancelled { job });
                    break;
                }
                409 => break,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        self.cancels.fetch_sub(1, Ordering::SeqCst);
    }

    /// Looks at jobs that were accepted lately.
    pub(crate) async fn poll_jobs(self: Arc<Self>, topic: u64) {
        let mut random = SeededRandom::new(self.seed, topic);
        while !self.are_stopped() {
            tokio::time::sleep(random.millis(5..40)).await;
            let job = {
                let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                let pick = usize::try_from(random.in_range(0..REMEMBERED as u64)).unwrap_or_default();
                recent.get(pick % recent.len().max(1)).cloned()
            };
            let Some(job) = job else { continue };
            if let Ok((status, found)) = self.client.get(&format!("/api/jobs/{job}")).await {
                let state = found["state"].as_str().unwrap_or_default().to_owned();
                self.history.add(&Record::Seen { job, status: status.as_u16(), state });
            }
        }
    }

    /// Reads the events of a session live, as a browser does.
    pub(crate) async fn follow_events(self: Arc<Self>, session: String) {
        let mut last = 0;
        while !self.are_stopped() {
            let history = self.history.clone();
            let heard = self.client.follow(&session, last, |frame| {
                let job = frame.data["job_id"].as_str().unwrap_or_default().to_owned();
                history.add(&Record::Frame {
                    session: session.clone(),
                    id: frame.id,
                    event: frame.event.clone(),
                    job,
                });
                last = frame.id;
                self.are_stopped()
            });
            if let Err(error) = heard.await
                && error.to_string().starts_with("409")
            {
                self.history
                    .add(&Record::ReaderRefused { session: session.clone(), error: error.to_string() });
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
