//! What the server's public API says in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_testkit::Client;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::history::Record;
use crate::workload::{BEATS, RAN};

/// How long jobs may take to end after the last fault.
const END_TIMEOUT: Duration = Duration::from_mins(5);

/// The states that a job leaves again.
const UNFINISHED: [&str; 5] = ["queued", "admitted", "starting", "running", "stopping"];

/// The server's final state.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinalState {
    /// The state of every job that it knows, by id.
    pub(crate) jobs: BTreeMap<String, String>,
    /// Those of them that failed because their container vanished.
    pub(crate) lost: BTreeSet<String>,
    /// Every event of every session, in the order of the pages.
    pub(crate) events: BTreeMap<String, Vec<Event>>,
    /// What the commands wrote into each workspace: their numbers when they began, negative when they ended.
    pub(crate) ran: BTreeMap<String, Vec<i64>>,
    /// Of the commands that run until they are ended: how long they ran, in seconds.
    pub(crate) lived: BTreeMap<u64, f64>,
}

impl FinalState {
    fn add(&mut self, job: &Value) {
        let id = text(&job["job_id"]);
        if job["reason"] == "runtime_lost" {
            self.lost.insert(id.clone());
        }
        self.jobs.insert(id, text(&job["state"]));
    }
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) job: String,
    /// The state that a `finish` tells.
    pub(crate) state: String,
    /// The text of a `log`.
    pub(crate) text: String,
}

/// Waits until every job has ended, or the time for that is over, and reads everything.
pub(crate) async fn collect(client: &Client, history: &[Record]) -> Result<FinalState> {
    wait_until_all_have_ended(client).await?;
    let mut found = all_jobs(client).await?;
    for record in history {
        if let Record::Accepted { job, .. } = record
            && !found.jobs.contains_key(job)
        {
            // not in the list: it may be known all the same
            let (status, job) = client.get(&format!("/api/jobs/{job}")).await?;
            if status == StatusCode::OK {
                found.add(&job);
            }
        }
    }
    let sessions: BTreeSet<&String> = history
        .iter()
        .filter_map(|record| if let Record::Sent { session, .. } = record { Some(session) } else { None })
        .collect();
    for session in sessions {
        found.events.insert(session.clone(), events(client, session).await?);
        found.ran.insert(session.clone(), ran(client, session).await?);
        found.lived.extend(lived(client, session).await?);
    }
    Ok(found)
}

async fn wait_until_all_have_ended(client: &Client) -> Result<()> {
    let end = Instant::now() + END_TIMEOUT;
    'again: while Instant::now() < end {
        for state in UNFINISHED {
            let (_, page) = client.get(&format!("/api/jobs?state={state}&limit=1")).await?;
            if page["jobs"].as_array().is_none_or(|jobs| !jobs.is_empty()) {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue 'again;
            }
        }
        return Ok(());
    }
    // those that have not ended are found, and counted as lost
    Ok(())
}

async fn all_jobs(client: &Client) -> Result<FinalState> {
    let mut found = FinalState::default();
    let mut path = "/api/jobs?limit=200".to_owned();
    loop {
        let (status, page) = client.get(&path).await?;
        ensure!(status == StatusCode::OK, "{status} {page}");
        for job in page["jobs"].as_array().context("a page without jobs")? {
            found.add(job);
        }
        let Some(next) = page["next"].as_str() else { return Ok(found) };
        path = format!("/api/jobs?limit=200&cursor={next}");
    }
}

async fn events(client: &Client, session: &str) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let path = format!("/api/sessions/{session}/events?after={after}&limit=1000");
        let answer = client.request(Method::GET, &path).header("accept", "application/json").send().await?;
        let page: Value = answer.error_for_status()?.json().await?;
        let page = page["events"].as_array().context("a page without events")?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page.iter().map(|event| Event {
            seq: event["seq"].as_u64().unwrap_or_default(),
            kind: text(&event["event_type"]),
            job: text(&event["job_id"]),
            state: text(&event["data"]["state"]),
            text: text(&event["data"]["text"]),
        }));
    }
}

async fn ran(client: &Client, session: &str) -> Result<Vec<i64>> {
    let text = file(client, session, RAN).await?;
    text.lines().map(|line| line.parse().with_context(|| format!("a line of {RAN}: {line:?}"))).collect()
}

/// The time between the first and the last beat of each command that wrote any.
async fn lived(client: &Client, session: &str) -> Result<BTreeMap<u64, f64>> {
    let mut beats: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for line in file(client, session, BEATS).await?.lines() {
        let beat = || format!("a line of {BEATS}: {line:?}");
        let (number, up) = line.split_once(' ').with_context(beat)?;
        let up: f64 = up.parse().with_context(beat)?;
        beats.entry(number.parse().with_context(beat)?).or_insert((up, up)).1 = up;
    }
    Ok(beats.into_iter().map(|(number, (first, last))| (number, last - first)).collect())
}

/// A file of a workspace; empty if it is not there.
async fn file(client: &Client, session: &str, name: &str) -> Result<String> {
    let path = format!("/api/workspaces/{session}/files/{name}");
    let answer = client.request(Method::GET, &path).send().await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Ok(String::new());
    }
    Ok(answer.error_for_status()?.text().await?)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
