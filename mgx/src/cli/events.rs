//! `mgx events`: what happened in a session, and what happens.

use std::process::ExitCode;

use mgx_client::{Client, Event, Feed, Item};
use mgx_protocol::SessionId;

use super::out::{self, Failure, Outcome};
use super::screen::Screen;
use super::transcript::Transcript;

/// Which events.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session.
    session: SessionId,
    /// Waits for more until the session's jobs have ended.
    #[arg(long, short)]
    follow: bool,
    /// Only those after this number.
    #[arg(long, default_value_t = 0, value_name = "N")]
    after: u64,
    /// One JSON object on each line.
    #[arg(long)]
    json: bool,
}

/// Shows them.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    if args.follow { follow(client, args).await } else { replay(client, args).await }
}

async fn replay(client: &Client, args: &Args) -> Outcome {
    let mut after = Some(args.after).filter(|after| *after > 0);
    let mut teller = Teller::new(args);
    loop {
        let Some(events) = client.event_page(&args.session, after).await? else {
            return Err(Failure::new(format!(
                "there is no session {}; `mgx ps` shows those with jobs",
                args.session
            )));
        };
        match events.last() {
            Some(last) if after.is_none_or(|after| last.seq > after) => after = Some(last.seq),
            Some(_) | None => return Ok(ExitCode::SUCCESS),
        }
        for event in &events {
            teller.tell(event);
        }
    }
}

async fn follow(client: &Client, args: &Args) -> Outcome {
    let mut feed = Feed::new(client, args.session.clone(), args.after);
    let mut teller = Teller::new(args);
    loop {
        let item = tokio::select! {
            item = feed.next() => item?,
            _ = tokio::signal::ctrl_c() => break,
        };
        match item {
            Item::Event(event) => teller.tell(&event),
            Item::Lost => out::note("the connection is lost; trying again"),
            Item::Back => out::note(format!("connected again, after event {}", feed.position())),
            Item::Trimmed { oldest } => {
                out::note(format!("the events before number {oldest} are kept no longer"));
            }
            Item::Finished => break,
        }
    }
    teller.screen.close();
    Ok(ExitCode::SUCCESS)
}

/// Tells one job after the other.
struct Teller {
    transcript: Transcript,
    screen: Screen,
    json: bool,
}

impl Teller {
    fn new(args: &Args) -> Self {
        let screen = if args.follow && !args.json { Screen::open() } else { Screen::plain() };
        Self { transcript: Transcript::default(), screen, json: args.json }
    }

    fn tell(&mut self, event: &Event) {
        if self.json {
            return out::line(event.to_json());
        }
        self.transcript.tell(event).iter().for_each(|line| self.screen.line(line));
        self.screen.doing(self.transcript.doing());
        if let Some(finish) = self.transcript.finish() {
            self.screen.line(&format!("finish {}", finish.status));
            self.transcript = Transcript::default();
        }
    }
}
