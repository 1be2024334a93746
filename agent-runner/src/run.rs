//! PID 1: waits for its one invocation, sees it through, and goes when the platform has heard how it ended.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::SlotId;
use mgx_protocol::{Exit, ExitCause, Invocation};
use rustix::process::WaitStatus;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::link::{Link, socket};
use crate::processes::{Processes, Streams};
use crate::spool::Spool;
use crate::supervisor::{Stop, after, supervise};
use crate::team::TEAM;
use crate::tunnel::Tunnel;
use crate::{events, oom, output};

/// How long the last events, and then the exit, wait for a platform to hear them.
const LINGER: Duration = Duration::from_hours(1);

/// The grace time when an engine or a person sends SIGTERM to us: engines kill after 10 s.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// Runs one invocation. Returns when the platform has dismissed us, or nobody has come for too long.
///
/// # Errors
/// `MGX_SLOT` is missing, or the process cannot listen to signals.
pub(crate) async fn run() -> io::Result<()> {
    let slot = slot()?;
    let (spool, stop) = (Spool::new(), Stop::new());
    let (exit, exit_known) = watch::channel(None);
    let (invoke, invoked) = oneshot::channel();
    let mut processes = Processes::new()?;
    let mut term = signal(SignalKind::terminate())?;
    let link = Link::new(socket(), slot, (spool.clone(), stop.clone()), invoke, exit_known);
    let mut link = tokio::spawn(link.run());

    let invocation = tokio::select! {
        invocation = invoked => invocation.map_err(io::Error::other)?,
        // there is no command; orphans of an engine's exec are reaped all the same
        _ = processes.ended() => return Ok(()),
        _ = term.recv() => return Ok(()),
    };
    let attempt = attempt(&invocation, &mut processes, &spool, &stop);
    tokio::pin!(attempt);
    let last_words = loop {
        tokio::select! {
            last_words = &mut attempt => break last_words,
            _ = term.recv() => stop.request(TERM_GRACE),
        }
    };
    exit.send_replace(Some(last_words));
    tokio::select! {
        _ = &mut link => {}
        () = sleep(LINGER) => {}
        _ = term.recv() => {
            // a last chance to be heard; either way we go
            timeout(TERM_GRACE, &mut link).await.ok();
        }
    }
    Ok(())
}

fn slot() -> io::Result<SlotId> {
    let text = std::env::var("MGX_SLOT").map_err(|error| io::Error::other(format!("MGX_SLOT: {error}")))?;
    text.parse().map_err(|error| io::Error::other(format!("MGX_SLOT: {error}")))
}

/// One attempt, from the command's start to the last word that any of its processes wrote.
async fn attempt(invocation: &Invocation, processes: &mut Processes, spool: &Spool, stop: &Stop) -> Exit {
    let deadline = after(Instant::now(), Duration::from_millis(invocation.timeout_ms));
    let grace = Duration::from_millis(invocation.grace_ms);
    let killed_before = oom::kills();
    let ended = CancellationToken::new();
    let mut exit = Exit {
        last_seq: 0,
        at: Timestamp::now(),
        code: None,
        signal: None,
        oom_kills: 0,
        cause: ExitCause::NotStarted,
        reported: None,
        error: None,
    };
    match start(invocation, processes, spool, &ended).await {
        Err(error) => exit.error = Some(error),
        Ok((Streams { stdout, stderr }, events)) => {
            let stdout = tokio::spawn(output::forward(stdout, "stdout", spool.clone(), ended.clone()));
            let stderr = tokio::spawn(output::forward(stderr, "stderr", spool.clone(), ended.clone()));
            let events = tokio::spawn(events.collect());
            let (cause, all_gone) = supervise(processes, deadline, grace, stop).await;
            exit.at = Timestamp::now();
            exit.oom_kills = oom::kills().saturating_sub(killed_before);
            ended.cancel();
            // readers do not panic, and nobody aborts them; a full spool holds them up while the platform is away
            let last_words = timeout(LINGER, async { tokio::join!(stdout, stderr, events) }).await;
            exit.reported = last_words.ok().and_then(|(_, _, reported)| reported.ok().flatten());
            exit.cause = cause;
            exit.code = processes.status().and_then(WaitStatus::exit_status);
            exit.signal = processes.status().and_then(WaitStatus::terminating_signal);
            exit.error = all_gone.err();
            if let Some(reason) = processes.not_executed() {
                exit = Exit { cause: ExitCause::NotStarted, code: None, error: Some(reason), ..exit };
            }
        }
    }
    exit.last_seq = spool.last();
    exit
}

/// Opens the doors of the box and starts the command.
async fn start(
    invocation: &Invocation,
    processes: &mut Processes,
    spool: &Spool,
    ended: &CancellationToken,
) -> Result<(Streams, Events), String> {
    let mut env = invocation.env.clone();
    let tunnel = Tunnel::open(socket()).await.map_err(|error| format!("cannot open a port: {error}"))?;
    let base_url = tunnel.base_url().map_err(|error| format!("cannot open a port: {error}"))?;
    env.insert("OPENAI_BASE_URL".into(), base_url);
    let directory = std::env::temp_dir();
    let events = Events::open(&directory, spool.clone(), ended.clone())
        .map_err(|error| format!("cannot listen for events in {}: {error}", directory.display()))?;
    env.insert(events::VARIABLE.into(), events.path().display().to_string());
    let team = ["/proc/self/exe".to_owned(), "team".to_owned()];
    let argv = if invocation.argv.is_empty() {
        let description = serde_json::to_string(&invocation.team)
            .map_err(|error| format!("cannot describe the team: {error}"))?;
        env.insert(TEAM.into(), description);
        &team[..]
    } else {
        &invocation.argv
    };
    let streams = processes
        .start(argv, &env, &invocation.workdir)
        .map_err(|error| format!("cannot start {}: {error}", argv[0]))?;
    tokio::spawn(tunnel.serve());
    Ok((streams, events))
}
