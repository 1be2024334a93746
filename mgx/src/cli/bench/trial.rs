//! One start as a user sees it: over HTTP, through the queue and the journal, to the stream.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use mgx_client::{Client, Event, Feed, Item, NewJob, NewSession};
use mgx_protocol::{EventKind, JobId, SessionId, StateName};
use tokio::time::timeout;

use crate::config::{Config, RuntimeName};
use crate::data_dir;
use crate::image::AgentImage;

/// How long one trial may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Work {
    /// The team of agents makes a page, with the demo model.
    Team,
    /// A command prints a line: the least that a job can do.
    Command,
}

impl Work {
    /// The job as it is submitted.
    pub(super) fn order(self, config: &Config) -> NewJob {
        match self {
            Self::Team => NewJob::of_prompt("Create a page that says hello"),
            Self::Command => NewJob {
                command: vec![runner(config).display().to_string(), "--version".to_owned()],
                ..NewJob::default()
            },
        }
    }
}

/// Where a job finds the runner, which every container has.
fn runner(config: &Config) -> PathBuf {
    match config.runtime {
        RuntimeName::Docker
        | RuntimeName::PoolDocker
        | RuntimeName::Podman
        | RuntimeName::PoolPodman
        | RuntimeName::Null => PathBuf::from("/agent-runner"),
        RuntimeName::Process => AgentImage::of(config).runner.unwrap_or_default(),
    }
}

/// Starts jobs.
#[derive(Debug)]
pub(super) struct Trial {
    client: Client,
    order: NewJob,
}

/// What was seen of a job that succeeded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The job.
    pub(super) job: JobId,
    /// When the request was sent.
    pub(super) began: Instant,
    /// When its turn came, as the journal says.
    pub(super) admitted: Option<Instant>,
    /// When the first event of an agent, or of the command came; nothing if it said nothing.
    pub(super) first: Option<Instant>,
    /// When `finish` came.
    pub(super) finish: Instant,
    /// From the last of these events, as the journal has it, to `finish`.
    pub(super) ending: Option<Duration>,
}

impl Trial {
    /// Jobs that do `work`, on the server of `config`, which listens at `address`.
    pub(super) fn new(config: &Config, address: SocketAddr, work: Work) -> anyhow::Result<Self> {
        let token = data_dir::admin_token(&config.server.data_dir)?;
        let client = Client::new(&format!("http://{address}"), token)?;
        Ok(Self { client, order: work.order(config) })
    }

    /// Makes a session for [`once`](Self::once).
    pub(super) async fn session(&self, name: &str) -> anyhow::Result<SessionId> {
        let session: SessionId = name.parse()?;
        let new = NewSession {
            session_id: Some(session.clone()),
            framework: Some("nextjs".to_owned()),
            ..NewSession::default()
        };
        self.client.create_session(&new).await?;
        Ok(session)
    }

    /// A job in a session that had none, from the POST to `finish`.
    pub(super) async fn once(&self, session: &SessionId) -> anyhow::Result<Seen> {
        timeout(PATIENCE, self.run(session)).await.context("a trial took too long")?
    }

    /// Waits until the API says that `job` is in a final state.
    pub(super) async fn until_final(&self, job: JobId) -> anyhow::Result<()> {
        let ended = async {
            while self.client.job(job).await?.context("the job is gone")?.ended_at.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, ended).await.context("the job does not end")?
    }

    async fn run(&self, session: &SessionId) -> anyhow::Result<Seen> {
        let mut feed = Feed::new(&self.client, session.clone(), 0);
        let (began, wall) = (Instant::now(), Timestamp::now());
        let posting = self.client.submit(session, &self.order);
        // The stream is read while the answer is under way, as a browser would.
        let (posted, watched) = tokio::join!(posting, watch(&mut feed));
        let posted = posted?.context("the session is gone")?;
        let Watched { admitted, first, last, finish, finished } = watched?;
        let since = |at: Timestamp, from: Timestamp| Duration::try_from(at.duration_since(from)).ok();
        Ok(Seen {
            job: posted.job_id,
            began,
            admitted: admitted.and_then(|at| since(at, wall)).map(|after| began + after),
            first,
            finish,
            ending: last.map(|last| since(finished, last).unwrap_or_default()),
        })
    }
}

impl Seen {
    /// From the request to the first event of an agent, or of the command.
    ///
    /// # Errors
    /// It said nothing.
    pub(super) fn tti(&self) -> anyhow::Result<Duration> {
        let first = self.first.context("the job said nothing")?;
        ensure!(first >= self.began, "an event came before the job was asked for");
        Ok(first - self.began)
    }
}

/// What the stream of one job tells, and when.
#[derive(Debug)]
struct Watched {
    admitted: Option<Timestamp>,
    first: Option<Instant>,
    last: Option<Timestamp>,
    finish: Instant,
    finished: Timestamp,
}

async fn watch(feed: &mut Feed<'_>) -> anyhow::Result<Watched> {
    let (mut admitted, mut first, mut last) = (None, None, None);
    loop {
        let event: Event = match feed.next().await? {
            Item::Event(event) => event,
            Item::Lost | Item::Back | Item::Trimmed { .. } => continue,
            Item::Finished => bail!("the stream ended before the job"),
        };
        match event.kind {
            EventKind::Finish if event.text("status") == "success" => {
                let finished = Timestamp::now();
                return Ok(Watched { admitted, first, last, finish: Instant::now(), finished });
            }
            EventKind::Finish => bail!("the job failed: {}", event.text("error")),
            EventKind::Job(StateName::Admitted) => admitted = event.at,
            kind if kind.is_platforms() => {}
            _ => {
                first = first.or(Some(Instant::now()));
                last = event.at.or(last);
            }
        }
    }
}
