//! Copying a whole store into an empty one: everything or nothing, counted and compared.
//!
//! What is copied is not in use: an embedded store is locked, and of a shared one the lease is held. The copy is not a
//! store before it is complete: a file has another name until then, and a database says of itself that it is being made.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use mgx_apps::{Intent, Session};
use mgx_scheduler::{Event, Job};
use ring::digest::{SHA256, digest};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::account::{Account, AccountPart};

/// How many records are written at a time.
const BATCH: usize = 1000;

/// How many records are read ahead.
const AHEAD: usize = 4 * BATCH;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(1);

/// One kind of things that a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Sessions, in the order in which they were made.
    Sessions,
    /// Jobs, in the order in which they were submitted.
    Jobs,
    /// Events, in the order of their numbers.
    Events,
    /// Requests that are to be done once.
    Intents,
    /// What the OAuth 2 provider keeps, one kind of it.
    Accounts(AccountPart),
}

/// One thing that a store keeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A session.
    Session(Box<Session>),
    /// A job.
    Job(Box<Job>),
    /// An event, and its agent's own number for it.
    Event(Box<Event>, Option<u64>),
    /// An intent.
    Intent(Box<Intent>),
    /// Something that the OAuth 2 provider keeps.
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
    /// It cannot be read, and why.
    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String>;
}

/// A store in the making.
#[async_trait]
pub trait Target: Source {
    /// Stores records of one part, in their order.
    ///
    /// # Errors
    /// It cannot be written, and why.
    async fn import(&mut self, records: Vec<Record>) -> Result<(), String>;

    /// Makes a store of it.
    ///
    /// # Errors
    /// It cannot be written, and why.
    async fn complete(self: Box<Self>) -> Result<(), String>;
}

/// How many records there are, and what they are: equal for two parts if and only if the same records are in them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of their SHA-256, in halves, each modulo 2¹²⁸: it does not matter in which order they come.
    sum: [u128; 2],
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// So many records of a part are written.
    Copied(Part, u64),
    /// A part is complete, and has been read back and compared.
    Verified(Part, Tally),
}

/// Copies everything from `source` to `target`, reads it back, compares, and makes a store of it.
///
/// # Errors
/// What went wrong; `target` is no store then.
pub async fn migrate(
    source: &dyn Source,
    mut target: Box<dyn Target>,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), String> {
    let mut copied = Vec::new();
    for part in Part::ALL {
        copied.push((part, copy(source, target.as_mut(), part, tell).await?));
    }
    for (part, tally) in copied {
        let found = count(&*target, part).await?;
        if found != tally {
            return Err(format!(
                "the copy of the {} differs: {tally} were read, {found} are there",
                part.name()
            ));
        }
        tell(Progress::Verified(part, tally));
    }
    target.complete().await
}

async fn copy(
    source: &dyn Source,
    target: &mut dyn Target,
    part: Part,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Tally, String> {
    let (out, mut records) = mpsc::channel(AHEAD);
    let writing = async {
        let (mut tally, mut batch, mut told) = (Tally::default(), Vec::new(), Instant::now());
        while records.recv_many(&mut batch, BATCH).await > 0 {
            for record in &batch {
                tally.add(record);
            }
            target.import(std::mem::take(&mut batch)).await?;
            if told.elapsed() > TELL {
                told = Instant::now();
                tell(Progress::Copied(part, tally.count));
            }
        }
        Ok::<_, String>(tally)
    };
    let (read, written) = tokio::join!(source.export(part, out), writing);
    // whoever reads hears of a target that fails only that nobody listens
    let tally = written?;
    read.map(|()| tally)
}

/// What is in a part.
async fn count(store: &dyn Target, part: Part) -> Result<Tally, String> {
    let (out, mut records) = mpsc::channel(AHEAD);
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
    pub const ALL: [Self; 13] = [
        Self::Sessions,
        Self::Jobs,
        Self::Events,
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
    /// All of it as text, the same for equal records.
    fn canonical(&self) -> String {
        match self {
            Self::Session(session) => {
                let Session { id, name, framework, workspace, user, created_at, usage } = &**session;
                json!([id.as_str(), name, framework, workspace.as_str(), user, created_at, usage]).to_string()
            }
            Self::Job(job) => json!(job).to_string(),
            Self::Event(event, source) => json!([event, source]).to_string(),
            Self::Intent(intent) => {
                let Intent { key, fingerprint, at, seed, answer } = &**intent;
                json!([key.0, fingerprint, at, seed, answer]).to_string()
            }
            Self::Account(account) => json!(account).to_string(),
        }
    }
}
