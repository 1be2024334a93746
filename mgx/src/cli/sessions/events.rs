//! `mgx events`: show the events of a session, and follow new ones.

use std::process::ExitCode;

use mgx_client::{Client, Event, Feed, Item};
use mgx_protocol::SessionId;

use super::screen::Screen;
use super::transcript::Transcript;
use crate::cli::ids;
use crate::cli::out::{self, Failure, Outcome};

/// Which events to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session; `mgx session list` lists them.
    session: SessionId,
    /// Wait for more events until every job of the session has ended.
    #[arg(long, short)]
    follow: bool,
    /// Show only the events after number N.
    #[arg(long, default_value_t = 0, value_name = "N")]
    after: u64,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// Shows the events.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let session = ids::session_id(client, &args.session).await?;
    if args.follow { follow(client, session, args).await } else { replay(client, &session, args).await }
}

async fn replay(client: &Client, session: &SessionId, args: &Args) -> Outcome {
    let mut after = Some(args.after).filter(|after| *after > 0);
    let mut printer = Printer::new(args);
    loop {
        let Some(events) = client.event_page(session, after).await? else {
            return Err(Failure::new(format!(
                "there is no session {session}; `mgx session list` lists them"
            )));
        };
        match events.last() {
            Some(last) if after.is_none_or(|after| last.seq > after) => after = Some(last.seq),
            Some(_) | None => return Ok(ExitCode::SUCCESS),
        }
        for event in &events {
            printer.print(event);
        }
    }
}

async fn follow(client: &Client, session: SessionId, args: &Args) -> Outcome {
    let mut feed = Feed::new(client, session, args.after);
    let mut printer = Printer::new(args);
    loop {
        let item = tokio::select! {
            item = feed.next() => item?,
            _ = tokio::signal::ctrl_c() => break,
        };
        match item {
            Item::Event(event) => printer.print(&event),
            Item::Lost => out::note("the connection is lost; trying again"),
            Item::Back => out::note(format!("connected again, after event {}", feed.position())),
            Item::Trimmed { oldest } => {
                out::note(format!("the events before number {oldest} are kept no longer"));
            }
            Item::Finished => break,
        }
    }
    printer.screen.close();
    Ok(ExitCode::SUCCESS)
}

/// Prints events as lines of JSON, or as the transcript of one job after the other.
struct Printer {
    transcript: Transcript,
    screen: Screen,
    json: bool,
}

impl Printer {
    fn new(args: &Args) -> Self {
        let screen = if args.follow && !args.json { Screen::open() } else { Screen::plain() };
        Self { transcript: Transcript::default(), screen, json: args.json }
    }

    fn print(&mut self, event: &Event) {
        if self.json {
            return out::line(event.to_json());
        }
        self.transcript.lines(event).iter().for_each(|line| self.screen.line(line));
        self.screen.status(self.transcript.status());
        if let Some(finish) = self.transcript.finish() {
            finish.lines(event.job).iter().for_each(|line| self.screen.line(line));
            self.transcript = Transcript::default();
        }
    }
}
