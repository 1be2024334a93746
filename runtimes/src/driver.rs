//! The platform's end of one run: forwards what the runner says, in order, once; says again what it must hear.
//!
//! A driver outlives any number of connections. It remembers the highest event it has seen, so a runner may send
//! again whatever was not acknowledged; and it remembers Ack, Stop and Dismiss, so a connection may break at any byte.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use mgx_protocol::JsonFrames;
use mgx_protocol::{AgentEvent, Exit, FromRunner, Invocation, MAX_EVENT_BYTES, Ready, ToRunner};
use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::Framed;
use tracing::{debug, warn};

use crate::latest::Latest;
use crate::{Command, Ended, Output, Run};

/// How long a runner may leave its socket unread before the connection is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long after a container's death its last words may still arrive.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How long a runner that broke the protocol has to wait.
const PENALTY: Duration = Duration::from_millis(100);

/// The longest text of an exit that is kept, in bytes.
const MAX_TEXT: usize = 8 * 1024;

/// Anything a runner can be connected by.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A control connection, just after its first frame.
pub(crate) struct Control {
    pub(crate) ready: Ready,
    /// Who calls, as the host sees it, if it does.
    pub(crate) process: Option<Pid>,
    pub(crate) stream: Box<dyn Stream>,
}

type Connection = Framed<Box<dyn Stream>, JsonFrames<FromRunner, ToRunner>>;

/// What one run knows of itself.
pub(crate) struct Driver {
    controls: Arc<Latest<Control>>,
    connection: Option<Connection>,
    outputs: mpsc::Sender<Output>,
    commands: mpsc::Receiver<Command>,
    /// What to run; `None` if an earlier process of the platform has said it.
    invocation: Option<Invocation>,
    /// The highest event so far; `None` if it is not known where the runner resumes.
    seen: Option<u64>,
    /// Seen, but not yet forwarded: nothing more is read meanwhile.
    pending: Option<Output>,
    has_ended: bool,
    acked: Option<u64>,
    kill_at: Option<Instant>,
    dismissed: bool,
}

impl Driver {
    /// A driver for the runner that calls at `controls`, and the run that it drives.
    pub(crate) fn new(controls: Arc<Latest<Control>>, invocation: Option<Invocation>) -> (Self, Run) {
        let (outputs, outputs_of_run) = mpsc::channel(Run::BACKLOG);
        let (commands_of_run, commands) = mpsc::channel(Run::BACKLOG);
        let seen = invocation.as_ref().map(|_| 0);
        let driver = Self {
            controls,
            connection: None,
            outputs,
            commands,
            invocation,
            seen,
            pending: None,
            has_ended: false,
            acked: None,
            kill_at: None,
            dismissed: false,
        };
        (driver, Run::new(outputs_of_run, commands_of_run))
    }

    /// Drives until the runner was dismissed, nobody listens any more, or `death` resolves: the container is gone.
    pub(crate) async fn drive(mut self, death: impl Future<Output = Ended>) {
        let mut death = pin!(death);
        let mut dead: Option<(Ended, Instant)> = None;
        loop {
            let silence = dead.as_ref().map_or_else(Instant::now, |(_, at)| *at + LAST_WORDS);
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                is_heard = forward(&self.outputs, &mut self.pending), if self.pending.is_some() => {
                    if !is_heard {
                        return;
                    }
                }
                frame = next(&mut self.connection), if self.connection.is_some() && self.pending.is_none() => {
                    self.hear(frame).await;
                }
                control = self.controls.take() => self.greet(control).await,
                ended = &mut death, if dead.is_none() => dead = Some((ended, Instant::now())),
                () = tokio::time::sleep_until(silence),
                    if dead.is_some() && self.connection.is_none() && self.pending.is_none() =>
                {
                    if let (false, Some((ended, _))) = (self.has_ended, dead) {
                        self.outputs.send(Output::Ended(ended)).await.ok();
                    }
                    return;
                }
            }
            if self.has_ended && self.dismissed && self.connection.is_some() && self.pending.is_none() {
                return;
            }
        }
    }

    /// A runner has called: tells it all that it must know, and listens to it from now on.
    async fn greet(&mut self, control: Control) {
        let unheard = match (&self.invocation, control.ready.invoked) {
            (Some(invocation), None) => Some(ToRunner::Invocation(Box::new(invocation.clone()))),
            (Some(invocation), Some(busy)) if busy != (invocation.job, invocation.attempt) => {
                return punish("it is busy with another invocation").await;
            }
            (None, None) => return punish("it has lost its invocation").await,
            (Some(_) | None, Some(_)) => None,
        };
        self.connection = Some(Framed::new(control.stream, JsonFrames::default()));
        for frame in unheard.into_iter().chain(self.remembered()) {
            self.say(frame).await;
        }
    }

    fn remembered(&self) -> Vec<ToRunner> {
        let grace = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
        let ack = self.acked.map(|seq| ToRunner::Ack { seq });
        let stop = grace.map(|grace| ToRunner::Stop { grace_ms: millis(grace) });
        let dismiss = self.dismissed.then_some(ToRunner::Dismiss);
        [ack, stop, dismiss].into_iter().flatten().collect()
    }

    async fn obey(&mut self, command: Command) {
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
        self.say(frame).await;
    }

    /// Says `frame` if somebody is connected; whoever connects later hears what is remembered.
    async fn say(&mut self, frame: ToRunner) {
        let Some(connection) = &mut self.connection else { return };
        let said = tokio::time::timeout(WRITE_LIMIT, connection.send(&frame)).await;
        if !matches!(said, Ok(Ok(()))) {
            debug!("the runner does not listen");
            self.connection = None;
        }
    }

    async fn hear(&mut self, frame: Option<io::Result<FromRunner>>) {
        match frame {
            Some(Ok(FromRunner::Event(event))) => self.event(event).await,
            Some(Ok(FromRunner::Exit(exit))) => self.exit(exit).await,
            Some(Ok(FromRunner::Ready(_) | FromRunner::Tunnel | FromRunner::Claimed(_))) => {
                self.hang_up("it introduced itself twice").await;
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.hang_up(&error.to_string()).await;
            }
            Some(Err(_)) | None => self.connection = None,
        }
    }

    async fn event(&mut self, event: AgentEvent) {
        let seq = event.seq;
        if self.has_ended || self.seen.is_some_and(|seen| seq <= seen) {
            return;
        }
        if let Err(wrong) = check(&event) {
            return self.hang_up(wrong).await;
        }
        if self.seen.is_some_and(|seen| seq != seen + 1) {
            return self.hang_up("an event is missing").await;
        }
        self.seen = Some(seq);
        self.pending = Some(Output::Event(event));
    }

    async fn exit(&mut self, mut exit: Exit) {
        if self.has_ended {
            return;
        }
        if self.seen.is_some_and(|seen| exit.last_seq > seen) {
            return self.hang_up("events before its exit are missing").await;
        }
        let reported = exit.reported.as_mut().and_then(|result| result.error.as_mut());
        for text in reported.into_iter().chain(exit.error.as_mut()) {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
        }
        self.has_ended = true;
        self.pending = Some(Output::Ended(Ended::Reported(exit)));
    }

    /// Ends a connection on which the protocol was broken. The runner may call again, and send again.
    async fn hang_up(&mut self, wrong: &str) {
        self.connection = None;
        punish(wrong).await;
    }
}

/// Says what was wrong, and lets the one who did it wait.
async fn punish(wrong: &str) {
    warn!(wrong, "a runner broke the protocol");
    tokio::time::sleep(PENALTY).await;
}

/// Waits for room, and fills it with what is pending. Cancel-safe. False: nobody listens any more.
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

/// What the protocol promises of an event, and a runner that was taken over might not keep.
fn check(event: &AgentEvent) -> Result<(), &'static str> {
    if !event.kind.is_well_formed() {
        return Err("the type of an event is 1 to 40 of a-z 0-9 _");
    }
    if event.seq == 0 || event.agent.as_ref().is_some_and(|agent| agent.len() > 64) {
        return Err("an event without a number, or with an agent of more than 64 bytes");
    }
    let mut left = Budget(MAX_EVENT_BYTES);
    serde_json::to_writer(&mut left, &event.data).map_err(|_| "the data of an event is too large")
}

/// Counts what is written, and keeps nothing.
struct Budget(usize);

impl io::Write for Budget {
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
