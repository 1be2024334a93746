//! Runs jobs as a user does, over HTTP, and notes when what happens on the event stream.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use mgx_client::{Client, Event, Feed, Item, NewJob, NewSession};
use mgx_protocol::{EventKind, JobId, SessionId, StateName};
use tokio::time::timeout;

use crate::host::PROCESS;
use crate::{Host, Overrides, Platform};

/// How long one job may take.
const TIMEOUT: Duration = Duration::from_mins(2);

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// The team of agents makes a page, with the demo model.
    Team,
    /// A command prints a line: the least that a job can do.
    Command,
}

impl Workload {
    /// The job as it is submitted.
    pub(crate) fn job(self, host: &dyn Host, overrides: &Overrides) -> NewJob {
        match self {
            Self::Team => NewJob::of_prompt("Create a page that says hello"),
            Self::Command => NewJob {
                command: vec![runner(host, overrides).display().to_string(), "--version".to_owned()],
                ..NewJob::default()
            },
        }
    }
}

/// Where a job finds the runner: in every container at the same place.
fn runner(host: &dyn Host, overrides: &Overrides) -> PathBuf {
    let settings = host.settings();
    if overrides.runtime.unwrap_or(settings.runtime) == PROCESS {
        settings.runner
    } else {
        PathBuf::from("/agent-runner")
    }
}

/// Runs jobs on one platform.
#[derive(Debug)]
pub(crate) struct JobClient {
    client: Client,
    job: NewJob,
}

/// When what happened to a job that succeeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobTimes {
    /// The job.
    pub(crate) job: JobId,
    /// When the request was sent.
    pub(crate) began: Instant,
    /// When it was admitted, by the log.
    pub(crate) admitted: Option<Instant>,
    /// When the first event of an agent, or of the command, arrived; `None` if there was none.
    pub(crate) first: Option<Instant>,
    /// When `finish` arrived.
    pub(crate) finish: Instant,
    /// From the last of these events, by the log, to `finish`.
    pub(crate) ending: Option<Duration>,
}

impl JobClient {
    /// Runs jobs like `job` on `platform`.
    pub(crate) fn new(platform: &Platform, job: NewJob) -> anyhow::Result<Self> {
        let client = Client::new(&format!("http://{}", platform.address), platform.token.clone())?;
        Ok(Self { client, job })
    }

    /// Makes a session for [`run`](Self::run).
    pub(crate) async fn make_session(&self, name: &str) -> anyhow::Result<SessionId> {
        let session: SessionId = name.parse()?;
        let new = NewSession {
            session_id: Some(session.clone()),
            framework: Some("nextjs".to_owned()),
            ..NewSession::default()
        };
        self.client.create_session(&new).await?;
        Ok(session)
    }

    /// Runs a job in a session that had none, from the POST to `finish`.
    pub(crate) async fn run(&self, session: &SessionId) -> anyhow::Result<JobTimes> {
        timeout(TIMEOUT, self.submit_and_follow(session)).await.context("a job took too long")?
    }

    /// Waits until the API says that `job` is in a final state.
    pub(crate) async fn until_final(&self, job: JobId) -> anyhow::Result<()> {
        let ended = async {
            while self.client.job(job).await?.context("the job is gone")?.ended_at.is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok(())
        };
        timeout(TIMEOUT, ended).await.context("the job does not end")?
    }

    async fn submit_and_follow(&self, session: &SessionId) -> anyhow::Result<JobTimes> {
        let mut feed = Feed::new(&self.client, session.clone(), 0);
        let (began, wall) = (Instant::now(), Timestamp::now());
        let posting = self.client.submit(session, &self.job);
        // the stream is read while the answer is awaited, as a browser does
        let (posted, followed) = tokio::join!(posting, follow(&mut feed));
        let posted = posted?.context("the session is gone")?;
        let StreamTimes { admitted, first, last, finish, finished } = followed?;
        let since = |at: Timestamp, from: Timestamp| Duration::try_from(at.duration_since(from)).ok();
        Ok(JobTimes {
            job: posted.job_id,
            began,
            admitted: admitted.and_then(|at| since(at, wall)).map(|after| began + after),
            first,
            finish,
            ending: last.map(|last| since(finished, last).unwrap_or_default()),
        })
    }
}

impl JobTimes {
    /// From the request to the first event of an agent, or of the command.
    ///
    /// # Errors
    /// There was no such event.
    pub(crate) fn tti(&self) -> anyhow::Result<Duration> {
        let first = self.first.context("the job sent no event")?;
        ensure!(first >= self.began, "an event came before the job was asked for");
        Ok(first - self.began)
    }
}

/// When what happened on the stream of one job.
#[derive(Debug)]
struct StreamTimes {
    admitted: Option<Timestamp>,
    first: Option<Instant>,
    last: Option<Timestamp>,
    finish: Instant,
    finished: Timestamp,
}

async fn follow(feed: &mut Feed<'_>) -> anyhow::Result<StreamTimes> {
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
                return Ok(StreamTimes { admitted, first, last, finish: Instant::now(), finished });
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
