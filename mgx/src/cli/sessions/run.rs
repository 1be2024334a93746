//! `mgx run` and `mgx continue`: submit a job, and watch it to its end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mgx_apps::Framework;
use mgx_client::{Client, Event, Feed, Item, NewJob, NewSession};
use mgx_protocol::{JobId, SessionId, WorkspaceId};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::screen::Screen;
use super::summary;
use super::transcript::Transcript;
use super::transcript::outcome::Change;
use crate::cli::ids::JobName;
use crate::cli::out::text::Line;
use crate::cli::out::{self, Failure, Outcome};

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "\
Examples:
  mgx run \"Create a landing page for a bakery\"
  mgx run \"Add opening hours\" --session bakery
  mgx run \"A todo list\" --framework nextjs --json | jq .event_type

Ctrl-C asks whether to cancel the job or to leave it running.
Exit codes: 0 success, 1 failure, 2 wrong usage, 124 timed out, 130 cancelled or left.";

/// What to run, and how to show it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the agents shall do.
    prompt: String,
    /// What the app is built with; the server's default, fastapi-vite, if absent. Counts for a new session only.
    #[arg(long, value_name = "nextjs|fastapi-vite")]
    framework: Option<Framework>,
    /// Continue this session, or make it if it does not exist. A new session with a random id if absent.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// Print every event as one line of JSON, and the result as the last line.
    #[arg(long)]
    json: bool,
}

/// How watching a job ended.
enum Watched {
    /// The job has finished.
    Finished(Box<Transcript>),
    /// The user has left; the job goes on.
    Detached,
}

/// Submits the job and watches it. `workspaces` has the files of sessions, if the server is the one of this machine.
pub(crate) async fn run(client: &Client, workspaces: Option<&Path>, args: &Args) -> Outcome {
    let (session, job) = submit(client, args).await?;
    attach(client, workspaces, session, job, args.json).await
}

/// The job to continue, and how to show the new one.
#[derive(Debug, clap::Args)]
pub(crate) struct ContinueArgs {
    /// The job that has failed, timed out or was cancelled.
    job: JobName,
    /// Print every event as one line of JSON, and the result as the last line.
    #[arg(long)]
    json: bool,
}

/// Submits a job that goes on where another one has stopped, and watches it.
pub(crate) async fn continue_job(client: &Client, workspaces: Option<&Path>, args: &ContinueArgs) -> Outcome {
    let stopped = args.job.find(client).await?;
    let Some(job) = client.continue_job(stopped).await? else {
        return Err(Failure::new(format!("there is no job {stopped}; `mgx ps --all` lists them")));
    };
    attach(client, workspaces, job.session_id, job.job_id, args.json).await
}

/// Watches a job to its end, unless the user leaves it.
async fn attach(
    client: &Client,
    workspaces: Option<&Path>,
    session: SessionId,
    job: JobId,
    json: bool,
) -> Outcome {
    let screen = if json { None } else { Some(Screen::open()) };
    if let Some(screen) = &screen {
        screen.line(&Line::new("session", format!("{session}  job {job}")));
    }
    match watch(client, &session, job, screen.as_ref()).await? {
        Watched::Detached => {
            out::note(format!(
                "the job goes on; see it with `mgx events {session} --follow`, end it with `mgx cancel {job}`"
            ));
            Ok(ExitCode::from(130))
        }
        Watched::Finished(transcript) => {
            if screen.is_some() {
                let directory = directory(client, workspaces, &session).await;
                summary::print(&transcript, &session, job, directory.as_deref());
            } else {
                out::line(result(&session, job, &transcript));
            }
            Ok(exit_code(transcript.finish().map_or("", |finish| &finish.status)))
        }
    }
}

/// The directory of a session's files, if it can be seen from here.
async fn directory(client: &Client, workspaces: Option<&Path>, session: &SessionId) -> Option<PathBuf> {
    let session = client.session(session).await.ok().flatten()?;
    let id = session.workspace_id.parse::<WorkspaceId>().ok()?;
    Some(workspaces?.join(id.as_str())).filter(|directory| directory.is_dir())
}

/// The exit code of a run whose `finish` event has this status.
pub(crate) fn exit_code(status: &str) -> ExitCode {
    ExitCode::from(match status {
        "success" => 0,
        "timeout" => 124,
        "stopped" => 130,
        _ => 1,
    })
}

async fn submit(client: &Client, args: &Args) -> Result<(SessionId, JobId), Failure> {
    if let Some(session) = &args.session
        && let Some(job) = client.submit(session, &NewJob::of_prompt(&args.prompt)).await?
    {
        return Ok((session.clone(), job.job_id));
    }
    let new = NewSession {
        session_id: args.session.clone(),
        framework: args.framework.map(|framework| framework.name().to_owned()),
        ..NewSession::of_prompt(&args.prompt)
    };
    let made = client.create_session(&new).await?;
    let job = made.job.ok_or_else(|| Failure::new("the server's answer names no job"))?;
    Ok((made.session_id, job.job_id))
}

async fn watch(
    client: &Client,
    session: &SessionId,
    job: JobId,
    screen: Option<&Screen>,
) -> Result<Watched, Failure> {
    let mut feed = Feed::new(client, session.clone(), 0);
    let mut transcript = Transcript::default();
    let watched = loop {
        let item = tokio::select! {
            item = feed.next() => item?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map_err(|error| Failure::new(format!("cannot listen for Ctrl-C: {error}")))?;
                match screen {
                    Some(screen) if out::is_terminal() && confirms_cancel(screen).await => {
                        client.cancel(job).await?;
                        screen.note("cancelling");
                        continue;
                    }
                    Some(_) | None => break Watched::Detached,
                }
            }
        };
        match item {
            Item::Event(event) if event.job.is_none_or(|of| of == job) => {
                show(&event, &mut transcript, screen);
                if transcript.finish().is_some() {
                    break Watched::Finished(Box::new(transcript));
                }
            }
            Item::Event(_) => {}
            Item::Lost => note(screen, "the connection is lost; trying again"),
            Item::Back => note(screen, &format!("connected again, after event {}", feed.position())),
            Item::Trimmed { oldest } => {
                note(screen, &format!("the events before number {oldest} are kept no longer"));
            }
            Item::Finished => {
                return Err(Failure::new("the session has no further events, but the job never finished"));
            }
        }
    };
    if let Some(screen) = screen {
        screen.close();
    }
    Ok(watched)
}

fn show(event: &Event, transcript: &mut Transcript, screen: Option<&Screen>) {
    let lines = transcript.lines(event);
    match screen {
        Some(screen) => {
            for line in &lines {
                screen.line(line);
            }
            screen.status(transcript.status());
        }
        None => out::line(event.to_json()),
    }
}

fn note(screen: Option<&Screen>, text: &str) {
    match screen {
        Some(screen) => screen.note(text),
        None => out::note(text),
    }
}

/// Asks the user whether to cancel the job. A second Ctrl-C, or an empty answer, means no.
async fn confirms_cancel(screen: &Screen) -> bool {
    screen.pause();
    out::note("Cancel the job (c), or leave and let it go on (Enter, or Ctrl-C again)?");
    let mut answer = String::new();
    let mut input = BufReader::new(tokio::io::stdin());
    let cancel = tokio::select! {
        read = input.read_line(&mut answer) => read.is_ok() && answer.trim().eq_ignore_ascii_case("c"),
        _ = tokio::signal::ctrl_c() => false,
    };
    screen.resume();
    cancel
}

fn result(session: &SessionId, job: JobId, transcript: &Transcript) -> Value {
    let used = transcript.used();
    let finish = transcript.finish();
    let written = transcript.files().iter().filter(|(_, change)| **change == Change::Written);
    json!({ "result": {
        "session_id": session,
        "job_id": job,
        "status": finish.map(|finish| &finish.status),
        "error": finish.and_then(|finish| finish.error.as_ref()),
        "elapsed_seconds": finish.and_then(|finish| finish.elapsed).map(|elapsed| elapsed.as_secs_f64()),
        "models": transcript.models(),
        "files": written.map(|(path, _)| path).collect::<Vec<_>>(),
        "usage": { "requests": used.requests, "prompt_tokens": used.sent, "completion_tokens": used.received },
    }})
}
