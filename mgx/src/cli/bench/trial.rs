//! One start as a user sees it: over HTTP, through the queue and the journal, to the stream.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;
use mgx_agent_runner::SessionId;
use mgx_client::{Client, Feed, Item, NewJob};
use serde_json::json;
use tokio::time::timeout;

use crate::config::Config;
use crate::data_dir;

/// How long one trial may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Starts jobs.
#[derive(Debug)]
pub(super) struct Trial {
    client: Client,
}

impl Trial {
    /// On the server at `address`.
    pub(super) fn new(config: &Config, address: SocketAddr) -> anyhow::Result<Self> {
        let token = data_dir::admin_token(&config.server.data_dir)?;
        Ok(Self { client: Client::new(&format!("http://{address}"), token)? })
    }

    /// From POST to the first event of an agent, and from the agents' last event to `finish`.
    pub(super) async fn once(&self, round: u32) -> anyhow::Result<(Duration, Duration)> {
        timeout(PATIENCE, self.run(round)).await.context("a trial took too long")?
    }

    async fn run(&self, round: u32) -> anyhow::Result<(Duration, Duration)> {
        let session: SessionId = session(round).parse()?;
        self.client.create_session(&json!({ "session_id": session, "framework": "nextjs" })).await?;
        let mut feed = Feed::new(&self.client, session.clone(), 0);
        let job = NewJob::of_prompt("Create a page that says hello");
        let began = Instant::now();
        let posting = self.client.submit(&session, &job);
        // The stream is read while the answer is under way, as a browser would.
        let (posted, watched) = tokio::join!(posting, watch(&mut feed));
        posted?.context("the session is gone")?;
        let (first, finish) = watched?;
        Ok((first.duration_since(began), finish))
    }
}

/// The session of a round.
pub(super) fn session(round: u32) -> String {
    format!("bench-{}-{round}", std::process::id())
}

/// When the first event of an agent came, and how long after the last one `finish` came.
async fn watch(feed: &mut Feed<'_>) -> anyhow::Result<(Instant, Duration)> {
    let (mut first, mut last) = (None, None);
    loop {
        let event = match feed.next().await? {
            Item::Event(event) => event,
            Item::Lost | Item::Back | Item::Trimmed { .. } => continue,
            Item::Finished => bail!("the stream ended before the job"),
        };
        match event.kind.as_str() {
            "finish" if event.text("status") == "success" => {
                let took = Timestamp::now().duration_since(last.context("no agent said anything")?);
                let first = first.context("no agent said anything")?;
                return Ok((first, Duration::try_from(took).unwrap_or_default()));
            }
            "finish" => bail!("the job failed: {}", event.text("error")),
            kind if kind.starts_with("job_") || kind.starts_with("llm_") => {}
            _ => {
                first = first.or(Some(Instant::now()));
                last = event.at.or(last);
            }
        }
    }
}
