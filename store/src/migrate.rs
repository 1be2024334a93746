//! Copies a whole store into an empty one: completely or not at all, counted and compared.
//!
//! The source is not in use meanwhile: an embedded store is locked, and the lease of a MongoDB store is held. The copy is
//! not usable as a store before it is complete: a file has a temporary name until then, and a database is marked.

pub mod account;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use mgx_apps::{Intent, Session};
use mgx_scheduler::{Event, Job};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::migrate::account::{Account, AccountPart};

/// How many records are written at a time.
const BATCH: usize = 1000;

/// How many records are read ahead.
const READ_AHEAD: usize = 4 * BATCH;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// One kind of records in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sessions, in the order of creation.
    Sessions,
    /// Jobs, in the order in which they were submitted.
    Jobs,
    /// Events, in the order of their numbers.
    Events,
    /// Messages of conversations, in the order of their numbers.
    Messages,
    /// Intents of idempotent requests.
    Intents,
    /// One kind of the records of the OAuth 2 provider.
    Accounts(AccountPart),
}

/// One record of a store.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A session.
    Session(Box<Session>),
    /// A job.
    Job(Box<Job>),
    /// An event, and its agent's own number for it.
    Event(Box<Event>, Option<u64>),
    /// A message, as its event.
    Message(Box<Event>),
    /// An intent.
    Intent(Box<Intent>),
    /// A record of the OAuth 2 provider.
    Account(Box<Account>),
}

/// A store that can be read as a whole.
#[async_trait]
pub trait Source: Send + Sync {
    /// The name of the platform.
    fn instance(&self) -> &str;

    /// Sends every record of a part to `out`.
    ///
    /// # Errors
    /// The reason why the store cannot be read.
    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String>;
}

/// A store that is being filled.
#[async_trait]
pub trait Target: Source {
    /// Stores records of one part, in their order.
    ///
    /// # Errors
    /// The reason why the store cannot be written.
    async fn import(&mut self, records: Vec<Record>) -> Result<(), String>;

    /// Makes the copy usable as a store.
    ///
    /// # Errors
    /// The reason why the store cannot be written.
    async fn complete(self: Box<Self>) -> Result<(), String>;
}

/// A count and a checksum of records: equal for two parts if and only if they have the same records.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of their SHA-256, in halves, each modulo 2¹²⁸: the order of the records does not matter.
    sum: [u128; 2],
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// This many records of a part are written.
    Copied(Part, u64),
    /// A part is complete, and has been read back and compared.
    Verified(Part, Tally),
}

/// Copies everything from `source` to `target`, reads it back, compares, and completes the target.
///
/// # Errors
/// The reason; `target` is not usable as a store then.
pub async fn migrate(
    source: &dyn Source,
    mut target: Box<dyn Target>,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), String> {
    let mut copied = Vec::new();
    for part in Part::ALL {
        copied.push((part, copy(source, target.as_mut(), part, report).await?));
    }
    for (part, tally) in copied {
        let found = count(&*target, part).await?;
        if found != tally {
            return Err(format!(
                "the copy of the {} differs: {tally} were read, {found} are there",
                part.name()
            ));
        }
        report(Progress::Verified(part, tally));
    }
    target.complete().await
}

async fn copy(
    source: &dyn Source,
    target: &mut dyn Target,
    part: Part,
    report: &mut (dyn FnMut(Progress) + Send),
) -> Result<Tally, String> {
    let (out, mut records) = mpsc::channel(READ_AHEAD);
    let writing = async {
        let (mut tally, mut batch, mut reported) = (Tally::default(), Vec::new(), Instant::now());
        while records.recv_many(&mut batch, BATCH).await > 0 {
            for record in &batch {
                tally.add(record);
            }
            target.import(std::mem::take(&mut batch)).await?;
            if reported.elapsed() > PROGRESS_INTERVAL {
                reported = Instant::now();
                report(Progress::Copied(part, tally.count));
            }
        }
        Ok::<_, String>(tally)
    };
    let (read, written) = tokio::join!(source.export(part, out), writing);
    // if the target fails, the source sees only that its channel is closed, so the error of the target counts first
    let tally = written?;
    read.map(|()| tally)
}

/// The count and checksum of a part.
async fn count(store: &dyn Target, part: Part) -> Result<Tally, String> {
    let (out, mut records) = mpsc::channel(READ_AHEAD);
    let counting = async {
        let mut tally = Tally::default();
        while let Some(record) = records.recv().await {
            tally.add(&record);
        }
        tally
    };
    let (read, tally) = tokio::join!(store.export(part, out), counting);
    read.map(|()| tally)
}

impl Part {
    /// Every part, in the order of copying.
    pub const ALL: [Self; 14] = [
        Self::Sessions,
        Self::Jobs,
        Self::Events,
        Self::Messages,
        Self::Intents,
        Self::Accounts(AccountPart::Users),
        Self::Accounts(AccountPart::Clients),
        Self::Accounts(AccountPart::ApiTokens),
        Self::Accounts(AccountPart::Consents),
        Self::Accounts(AccountPart::Grants),
        Self::Accounts(AccountPart::Browsers),
        Self::Accounts(AccountPart::Devices),
        Self::Accounts(AccountPart::Revoked),
        Self::Accounts(AccountPart::Audit),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Jobs => "jobs",
            Self::Events => "events",
            Self::Messages => "messages",
            Self::Intents => "intents",
            Self::Accounts(part) => part.name(),
        }
    }
}

impl Tally {
    fn add(&mut self, record: &Record) {
        self.count += 1;
        let hash = digest(&SHA256, record.canonical().as_bytes());
        for (sum, half) in self.sum.iter_mut().zip(hash.as_ref().chunks_exact(16)) {
            let half = half.iter().fold(0, |number: u128, byte| number << 8 | u128::from(*byte));
            *sum = sum.wrapping_add(half);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:016x})", self.count, self.sum[0] >> 64)
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Record {
    /// The record as text, the same for equal records.
    fn canonical(&self) -> String {
        match self {
            Self::Session(session) => {
                let Session { id, name, framework, workspace, user, created_at, usage } = &**session;
                json!([id.as_str(), name, framework, workspace.as_str(), user, created_at, usage]).to_string()
            }
            Self::Job(job) => json!(job).to_string(),
            Self::Event(event, source) => json!([event, source]).to_string(),
            Self::Message(message) => json!(message).to_string(),
            Self::Intent(intent) => {
                let Intent { key, fingerprint, at, seed, answer } = &**intent;
                json!([key.0, fingerprint, at, seed, answer]).to_string()
            }
            Self::Account(account) => json!(account).to_string(),
        }
    }
}
