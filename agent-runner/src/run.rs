//! PID 1: waits for its one invocation, runs it, and exits when the platform has stored how it ended.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use mgx_protocol::{Exit, ExitCause, Invocation, SlotId};
use rustix::process::WaitStatus;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::command::oom;
use crate::command::processes::{Processes, Streams};
use crate::command::supervisor::{StopRequest, after, supervise};
use crate::link::spool::Spool;
use crate::link::tunnel::Tunnel;
use crate::link::{Link, socket};
use crate::output::event_socket::{self, EventSocket};
use crate::output::log;
use crate::team::{CONVERSATION, TEAM};

/// How long the runner waits, after the command, for the platform to take the last events, and then the exit: longer than
/// any absence of a platform that is to come back. Only then may a container be left without its platform.
const DELIVERY_LIMIT: Duration = Duration::from_hours(30 * 24);

/// The command's grace time when the runner itself gets SIGTERM: engines send SIGKILL 10 s later.
const SIGTERM_GRACE: Duration = Duration::from_secs(5);

/// Runs one invocation. Returns when the platform has dismissed the runner, or has not done so within
/// [`DELIVERY_LIMIT`].
///
/// # Errors
/// `MGX_SLOT` is missing or no slot id, or signal handlers cannot be installed.
pub(crate) async fn run() -> io::Result<()> {
    let slot = slot()?;
    let (spool, stop) = (Spool::new(), StopRequest::new());
    let (exit, exit_known) = watch::channel(None);
    let (invoke, invoked) = oneshot::channel();
    let mut processes = Processes::new()?;
    let mut term = signal(SignalKind::terminate())?;
    let link = Link::new(socket(), slot, (spool.clone(), stop.clone()), invoke, exit_known);
    let mut link = tokio::spawn(link.run());

    let invocation = tokio::select! {
        invocation = invoked => invocation.map_err(io::Error::other)?,
        // there is no command yet, but orphans of an engine's exec have to be reaped
        _ = processes.ended() => return Ok(()),
        _ = term.recv() => return Ok(()),
    };
    spool.limit(invocation.memory_bytes);
    let attempt = attempt(&invocation, &mut processes, &spool, &stop);
    tokio::pin!(attempt);
    let ended = loop {
        tokio::select! {
            ended = &mut attempt => break ended,
            _ = term.recv() => stop.request(SIGTERM_GRACE),
        }
    };
    exit.send_replace(Some(ended));
    tokio::select! {
        _ = &mut link => {}
        () = sleep(DELIVERY_LIMIT) => {}
        _ = term.recv() => {
            // time to deliver what is left; the runner exits in any case
            timeout(SIGTERM_GRACE, &mut link).await.ok();
        }
    }
    Ok(())
}

fn slot() -> io::Result<SlotId> {
    let text = std::env::var("MGX_SLOT").map_err(|error| io::Error::other(format!("MGX_SLOT: {error}")))?;
    text.parse().map_err(|error| io::Error::other(format!("MGX_SLOT: {error}")))
}

/// Runs the command to the end of its last process and of their output.
async fn attempt(
    invocation: &Invocation,
    processes: &mut Processes,
    spool: &Spool,
    stop: &StopRequest,
) -> Exit {
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
            let stdout = tokio::spawn(log::forward(stdout, "stdout", spool.clone(), ended.clone()));
            let stderr = tokio::spawn(log::forward(stderr, "stderr", spool.clone(), ended.clone()));
            let events = tokio::spawn(events.collect());
            let (cause, all_gone) = supervise(processes, deadline, grace, stop).await;
            exit.at = Timestamp::now();
            exit.oom_kills = oom::kills().saturating_sub(killed_before);
            ended.cancel();
            // the readers wait while the spool is full, so a platform that is away delays them
            let output = timeout(DELIVERY_LIMIT, async { tokio::join!(stdout, stderr, events) }).await;
            exit.reported = output.ok().and_then(|(_, _, reported)| reported.ok().flatten());
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

/// Opens the event socket and, for the team, the port of the LLM proxy, and starts the command.
async fn start(
    invocation: &Invocation,
    processes: &mut Processes,
    spool: &Spool,
    ended: &CancellationToken,
) -> Result<(Streams, EventSocket), String> {
    let mut env = invocation.env.clone();
    let directory = std::env::temp_dir();
    let events = EventSocket::open(&directory, spool.clone(), ended.clone(), invocation.memory_bytes)
        .map_err(|error| format!("cannot listen for events in {}: {error}", directory.display()))?;
    env.insert(event_socket::PATH_VARIABLE.into(), events.path().display().to_string());
    let team = ["/proc/self/exe".to_owned(), "team".to_owned()];
    let argv = if invocation.argv.is_empty() {
        let tunnel = Tunnel::open(socket()).await.map_err(|error| format!("cannot open a port: {error}"))?;
        let base_url = tunnel.base_url().map_err(|error| format!("cannot open a port: {error}"))?;
        tokio::spawn(tunnel.serve());
        let conversation = events.path().with_extension("conversation.json");
        describe(invocation, &conversation, &mut env)
            .map_err(|error| format!("cannot describe the team's task: {error}"))?;
        env.insert("OPENAI_BASE_URL".into(), base_url);
        &team[..]
    } else {
        &invocation.argv
    };
    let streams = processes
        .start(argv, &env, &invocation.workdir)
        .map_err(|error| format!("cannot start {}: {error}", argv[0]))?;
    Ok((streams, events))
}

/// Puts the team's description into its environment, and the conversation, which may be larger than a variable, into the
/// file `conversation`.
fn describe(
    invocation: &Invocation,
    conversation: &Path,
    env: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    env.insert(TEAM.into(), serde_json::to_string(&invocation.team)?);
    std::fs::write(conversation, serde_json::to_vec(&invocation.conversation)?)?;
    env.insert(CONVERSATION.into(), conversation.display().to_string());
    Ok(())
}
