//! The platform's end of one run: forwards the runner's events once and in order, and repeats commands after a reconnection.
//!
//! A driver outlives any number of connections. It keeps the number of the newest event, so that a runner may send again
//! what was not acknowledged; and it keeps Ack, Stop and Dismiss, so that a connection may break at any byte.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mgx_protocol::{AgentEvent, Exit, FromRunner, Invocation, JsonFrames, MAX_EVENT_BYTES, ToRunner};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::Framed;
use tracing::{debug, warn};

use super::control_connection::{ControlConnection, Stream};
use super::invoked_runner::{InvokedRunner, RunnerIdentity};
use super::mailbox::Mailbox;
use crate::{Command, Ended, Output, Run};

/// How long a runner may leave its socket unread before the connection is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long after the end of a container its last frames may still arrive.
const LAST_FRAMES_LIMIT: Duration = Duration::from_millis(300);

/// The pause after a runner broke the protocol.
const VIOLATION_PAUSE: Duration = Duration::from_millis(100);

/// The longest text of an exit that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 8 * 1024;

type Connection = Framed<Box<dyn Stream>, JsonFrames<FromRunner, ToRunner>>;

/// The state of one run.
pub(super) struct RunDriver {
    connections: Arc<Mailbox<ControlConnection>>,
    connection: Option<Connection>,
    outputs: mpsc::Sender<Output>,
    commands: mpsc::Receiver<Command>,
    /// What to run; `None` if an earlier process of the platform has sent it.
    invocation: Option<Invocation>,
    /// The runner that this run was given to, once it was.
    given: Option<RunnerIdentity>,
    record: InvokedRunner,
    /// Why the run is over although its container may run.
    lost: Option<Ended>,
    /// The number of the newest event; `None` if it is not known where the runner resumes.
    seen: Option<u64>,
    /// Received and not yet forwarded: nothing more is read meanwhile.
    pending: Option<Output>,
    has_ended: bool,
    acked: Option<u64>,
    kill_at: Option<Instant>,
    dismissed: bool,
}

impl RunDriver {
    /// A driver for the runner that connects through `connections`, and its run.
    pub(super) fn new(
        connections: Arc<Mailbox<ControlConnection>>,
        invocation: Option<Invocation>,
        record: InvokedRunner,
    ) -> (Self, Run) {
        let (outputs, outputs_of_run) = mpsc::channel(Run::BACKLOG);
        let (commands_of_run, commands) = mpsc::channel(Run::BACKLOG);
        let seen = invocation.as_ref().map(|_| 0);
        let driver = Self {
            connections,
            connection: None,
            outputs,
            commands,
            invocation,
            given: None,
            record,
            lost: None,
            seen,
            pending: None,
            has_ended: false,
            acked: None,
            kill_at: None,
            dismissed: false,
        };
        (driver, Run::new(outputs_of_run, commands_of_run))
    }

    /// Drives the run until the runner is dismissed, the [`Run`] is dropped, or `exit` resolves because the container has
    /// ended.
    pub(super) async fn drive(mut self, exit: impl Future<Output = Ended>) {
        let mut exit = pin!(exit);
        let mut exited: Option<(Ended, Instant)> = None;
        loop {
            let give_up_at = exited.as_ref().map_or_else(Instant::now, |(_, at)| *at + LAST_FRAMES_LIMIT);
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => return,
                },
                is_forwarded = forward(&self.outputs, &mut self.pending), if self.pending.is_some() => {
                    if !is_forwarded {
                        return;
                    }
                }
                frame = next(&mut self.connection), if self.connection.is_some() && self.pending.is_none() => {
                    self.on_frame(frame).await;
                }
                connection = self.connections.take() => self.on_connection(connection).await,
                ended = &mut exit, if exited.is_none() => exited = Some((ended, Instant::now())),
                () = tokio::time::sleep_until(give_up_at),
                    if exited.is_some() && self.connection.is_none() && self.pending.is_none() =>
                {
                    if let (false, Some((ended, _))) = (self.has_ended, exited) {
                        self.outputs.send(Output::Ended(ended)).await.ok();
                    }
                    return;
                }
            }
            if let Some(lost) = self.lost.take() {
                exited.get_or_insert((lost, Instant::now()));
            }
            if self.has_ended && self.dismissed && self.connection.is_some() && self.pending.is_none() {
                return;
            }
        }
    }

    /// A runner has connected: sends it what it has not received, and reads from it from now on.
    async fn on_connection(&mut self, new: ControlConnection) {
        let invocation = match (&self.invocation, new.ready.invoked) {
            (Some(_), None) => match self.give_to(RunnerIdentity::of(&new.ready)) {
                Some(frame) => Some(frame),
                None => return,
            },
            (Some(invocation), Some(busy)) if busy != (invocation.job, invocation.attempt) => {
                return report_violation("it is busy with another invocation").await;
            }
            // an earlier process of the platform has given it to a runner
            (None, None) => {
                self.lost = Some(Ended::Restarted);
                return;
            }
            (Some(_) | None, Some(_)) => None,
        };
        self.connection = Some(Framed::new(new.stream, JsonFrames::default()));
        for frame in invocation.into_iter().chain(self.frames_to_repeat()) {
            self.send(frame).await;
        }
    }

    /// The invocation, for a runner that has none, unless another runner was given it: then the run is lost.
    fn give_to(&mut self, runner: RunnerIdentity) -> Option<ToRunner> {
        match self.given {
            Some(given) if given.is_surely(runner) => {}
            Some(_) => {
                self.lost = Some(Ended::Restarted);
                return None;
            }
            None => {
                // written before it is sent: the next process of the platform has to know that the command may have run
                if let Err(error) = self.record.write(runner) {
                    warn!(%error, "cannot record which runner an invocation is given to: it is not given");
                    self.lost = Some(Ended::Lost);
                    return None;
                }
                self.given = Some(runner);
            }
        }
        self.invocation.clone().map(|invocation| ToRunner::Invocation(Box::new(invocation)))
    }

    fn frames_to_repeat(&self) -> Vec<ToRunner> {
        let grace = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let ack = self.acked.map(|seq| ToRunner::Ack { seq });
        let stop = grace.map(|grace| ToRunner::Stop { grace_ms: millis(grace) });
        let dismiss = self.dismissed.then_some(ToRunner::Dismiss);
        [ack, stop, dismiss].into_iter().flatten().collect()
    }

    async fn on_command(&mut self, command: Command) {
        let frame = match command {
            Command::Ack(seq) => {
                self.acked = self.acked.max(Some(seq));
                ToRunner::Ack { seq }
            }
            Command::Stop(grace) => {
                let at = Instant::now() + grace;
                self.kill_at = Some(self.kill_at.map_or(at, |sooner| sooner.min(at)));
                ToRunner::Stop { grace_ms: millis(grace) }
            }
            Command::Dismiss => {
                self.dismissed = true;
                ToRunner::Dismiss
            }
        };
        self.send(frame).await;
    }

    /// Sends `frame` if a runner is connected; one that connects later gets the frames to repeat.
    async fn send(&mut self, frame: ToRunner) {
        let Some(connection) = &mut self.connection else { return };
        let sent = tokio::time::timeout(WRITE_LIMIT, connection.send(&frame)).await;
        if !matches!(sent, Ok(Ok(()))) {
            debug!("the runner does not read");
            self.connection = None;
        }
    }

    async fn on_frame(&mut self, frame: Option<io::Result<FromRunner>>) {
        match frame {
            Some(Ok(FromRunner::Event(event))) => self.on_event(event).await,
            Some(Ok(FromRunner::Exit(exit))) => self.on_exit(exit).await,
            Some(Ok(FromRunner::Ready(_) | FromRunner::Tunnel | FromRunner::Claimed(_))) => {
                self.disconnect("it sent a first frame twice").await;
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.disconnect(&error.to_string()).await;
            }
            Some(Err(_)) | None => self.connection = None,
        }
    }

    async fn on_event(&mut self, event: AgentEvent) {
        let seq = event.seq;
        if self.has_ended || self.seen.is_some_and(|seen| seq <= seen) {
            return;
        }
        if let Err(wrong) = check(&event) {
            return self.disconnect(wrong).await;
        }
        if self.seen.is_some_and(|seen| seq != seen + 1) {
            return self.disconnect("an event is missing").await;
        }
        self.seen = Some(seq);
        self.pending = Some(Output::Event(event));
    }

    async fn on_exit(&mut self, mut exit: Exit) {
        if self.has_ended {
            return;
        }
        if self.seen.is_some_and(|seen| exit.last_seq > seen) {
            return self.disconnect("events before its exit are missing").await;
        }
        let reported = exit.reported.as_mut().and_then(|result| result.error.as_mut());
        for text in reported.into_iter().chain(exit.error.as_mut()) {
            text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        }
        self.has_ended = true;
        self.pending = Some(Output::Ended(Ended::Reported(exit)));
    }

    /// Closes a connection on which the protocol was broken. The runner may connect and send again.
    async fn disconnect(&mut self, wrong: &str) {
        self.connection = None;
        report_violation(wrong).await;
    }
}

/// Logs a violation of the protocol, and delays the next connection.
async fn report_violation(wrong: &str) {
    warn!(wrong, "a runner broke the protocol");
    tokio::time::sleep(VIOLATION_PAUSE).await;
}

/// Waits for room and sends what is pending; false if the [`Run`] was dropped. Cancel-safe.
async fn forward(outputs: &mpsc::Sender<Output>, pending: &mut Option<Output>) -> bool {
    let Ok(permit) = outputs.reserve().await else { return false };
    if let Some(output) = pending.take() {
        permit.send(output);
    }
    true
}

async fn next(connection: &mut Option<Connection>) -> Option<io::Result<FromRunner>> {
    match connection {
        Some(connection) => connection.next().await,
        None => None,
    }
}

/// Checks the limits of an event: what runs in the container may have taken over its runner.
fn check(event: &AgentEvent) -> Result<(), &'static str> {
    if !event.kind.is_well_formed() {
        return Err("the type of an event is 1 to 40 of a-z 0-9 _");
    }
    if event.seq == 0 || event.agent.as_ref().is_some_and(|agent| agent.len() > 64) {
        return Err("an event without a number, or with an agent of more than 64 bytes");
    }
    let mut left = ByteLimit(MAX_EVENT_BYTES);
    serde_json::to_writer(&mut left, &event.data).map_err(|_| "the data of an event is too large")
}

/// A writer that counts bytes against a limit and keeps none.
struct ByteLimit(usize);

impl io::Write for ByteLimit {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
