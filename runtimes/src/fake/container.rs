//! One fake container: its script runs whether or not the platform is connected, and its events are kept until they are
//! acknowledged, as a real runner does.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mgx_protocol::{AgentEvent, Claimed, EventKind, Exit, ExitCause, Invocation, JobId, Nonce};
use serde_json::{Map, Value};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::script::{Act, OnStop, Script};
use crate::runtime::warm::ClaimReceiver;
use crate::{Command, Ended, Output};

/// A container, invoked or not.
#[derive(Debug)]
pub(super) struct Container {
    state: Mutex<State>,
    /// Changes with every change of the state.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// What it can be claimed with, until it is.
    nonce: Option<Nonce>,
    invoked: Option<JobId>,
    /// Events that are not acknowledged.
    spool: Vec<AgentEvent>,
    last_seq: u64,
    ended: Option<Ended>,
    /// When SIGKILL is due.
    kill_at: Option<Instant>,
    /// When it was first asked to stop.
    asked_at: Option<Instant>,
    since: Instant,
}

impl Default for Container {
    fn default() -> Self {
        let state = State {
            nonce: Some(Nonce::new()),
            invoked: None,
            spool: Vec::new(),
            last_seq: 0,
            ended: None,
            kill_at: None,
            asked_at: None,
            since: Instant::now(),
        };
        Self { state: Mutex::new(state), changed: watch::Sender::new(0) }
    }
}

impl Container {
    /// Starts the script; false if the container has one already.
    pub(super) fn invoke(self: &Arc<Self>, script: Script, invocation: &Invocation) -> bool {
        if self.lock().invoked.replace(invocation.job).is_some() {
            return false;
        }
        let deadline = Instant::now() + Duration::from_millis(invocation.timeout_ms);
        let grace = Duration::from_millis(invocation.grace_ms);
        tokio::spawn(self.clone().run_script(script, deadline, grace));
        true
    }

    /// The nonce of a claim; `None` if the container was claimed or has ended.
    pub(super) fn nonce(&self) -> Option<Nonce> {
        let state = self.lock();
        state.nonce.filter(|_| state.ended.is_none() && state.invoked.is_none())
    }

    pub(super) fn is_invoked(&self) -> bool {
        self.lock().invoked.is_some()
    }

    /// The job whose command runs in it.
    pub(super) fn busy_with(&self) -> Option<JobId> {
        let state = self.lock();
        state.invoked.filter(|_| state.ended.is_none())
    }

    pub(super) fn is_running(&self) -> bool {
        !matches!(self.lock().ended, Some(Ended::Died { .. } | Ended::Restarted | Ended::Lost))
    }

    pub(super) fn die(&self, code: i64) {
        self.end(Ended::Died { code });
    }

    /// Removes the container, whatever it is doing.
    pub(super) fn remove(&self) {
        self.end(Ended::Lost);
    }

    async fn run_script(self: Arc<Self>, script: Script, deadline: Instant, grace: Duration) {
        let mut changed = self.changed.subscribe();
        let mut acts = script.acts.into_iter();
        let mut next = acts.next().map(|(pause, act)| (Instant::now() + pause, act));
        loop {
            let (ended, asked_at, kill_at) = {
                let state = self.lock();
                (state.ended.is_some(), state.asked_at, state.kill_at)
            };
            if ended {
                return;
            }
            let hangs = script.on_stop == OnStop::Hangs;
            let gives_in = match (script.on_stop, asked_at) {
                (OnStop::Ends(after), Some(asked)) => Some(asked + after),
                (OnStop::Ends(_) | OnStop::Ignores | OnStop::Hangs, _) => None,
            };
            let act_at = next.as_ref().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = at(kill_at), if !hangs => return self.exit(None, Some(9), 0, self.cause(deadline)),
                () = at(gives_in) => return self.exit(None, Some(15), 0, self.cause(deadline)),
                () = sleep_until(deadline), if asked_at.is_none() && !hangs => self.ask_to_stop(grace),
                () = at(act_at) => {
                    let Some((_, act)) = next.take() else { continue };
                    self.perform(act);
                    next = acts.next().map(|(pause, act)| (Instant::now() + pause, act));
                }
                changed = changed.changed() => if changed.is_err() { return },
            }
        }
    }

    fn perform(&self, act: Act) {
        match act {
            Act::Say(text) => {
                let mut state = self.lock();
                state.last_seq += 1;
                let event = AgentEvent {
                    seq: state.last_seq,
                    at: state.now(),
                    kind: EventKind::MessageDelta,
                    agent: Some("engineer".to_owned()),
                    data: Map::from_iter([("delta".to_owned(), Value::from(text))]),
                };
                state.spool.push(event);
                drop(state);
                self.notify();
            }
            Act::Exit { code, oom_kills, reported } => {
                self.exit(Some(code), None, oom_kills, ExitCause::Ended);
                if let Some(Ended::Reported(exit)) = &mut self.lock().ended {
                    exit.reported = reported;
                }
                self.notify();
            }
            Act::Die(code) => self.die(code),
        }
    }

    fn exit(&self, code: Option<i32>, signal: Option<i32>, oom_kills: u64, cause: ExitCause) {
        let (last_seq, at) = {
            let state = self.lock();
            (state.last_seq, state.now())
        };
        self.end(Ended::Reported(Exit {
            last_seq,
            at,
            code,
            signal,
            oom_kills,
            cause,
            reported: None,
            error: None,
        }));
    }

    fn cause(&self, deadline: Instant) -> ExitCause {
        if self.lock().asked_at.is_some_and(|asked| asked < deadline) {
            ExitCause::Stopped
        } else {
            ExitCause::Deadline
        }
    }

    fn ask_to_stop(&self, grace: Duration) {
        let mut state = self.lock();
        let kill_at = Instant::now() + grace;
        state.asked_at.get_or_insert_with(Instant::now);
        state.kill_at = Some(state.kill_at.map_or(kill_at, |sooner| sooner.min(kill_at)));
        drop(state);
        self.notify();
    }

    fn end(&self, ended: Ended) {
        let mut state = self.lock();
        // what the runner has reported is lost with the container
        if state.ended.is_none() || ended == Ended::Lost {
            state.ended = Some(ended);
        }
        drop(state);
        self.notify();
    }

    /// What comes after event number `sent`, if there is anything.
    fn after(&self, sent: u64) -> Option<Output> {
        let state = self.lock();
        let event = state.spool.iter().find(|event| event.seq > sent).cloned().map(Output::Event);
        match &state.ended {
            // events that were not sent are lost with the container
            Some(ended @ (Ended::Died { .. } | Ended::Restarted | Ended::Lost)) => {
                Some(Output::Ended(ended.clone()))
            }
            Some(ended @ Ended::Reported(_)) => event.or_else(|| Some(Output::Ended(ended.clone()))),
            None => event,
        }
    }

    fn on_command(&self, command: Command) {
        match command {
            Command::Ack(seq) => self.lock().spool.retain(|event| event.seq > seq),
            Command::Stop(grace) => self.ask_to_stop(grace),
            Command::Dismiss => self.die(0),
        }
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        Timestamp::UNIX_EPOCH.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }
}

/// Waits for the claim of a container, and confirms it with `nonce`. Notifies `disconnected` if the container ends before.
pub(super) async fn serve_claim(
    container: Arc<Container>,
    nonce: Nonce,
    mut claims: ClaimReceiver,
    disconnected: Arc<Notify>,
) {
    let mut changed = container.changed.subscribe();
    let ended = async { while container.lock().ended.is_none() && changed.changed().await.is_ok() {} };
    tokio::select! {
        biased;
        () = ended => {
            drop(claims);
            disconnected.notify_one();
        }
        reply = claims.claim() => {
            if let Some(reply) = reply
                && container.lock().nonce.take().is_some()
            {
                reply.send(Claimed { nonce, workspace: None }).ok();
            }
        }
    }
}

/// One connection of the platform to a container: the events that are not acknowledged, those that come, and the end.
pub(super) async fn connect(
    container: Arc<Container>,
    outputs: mpsc::Sender<Output>,
    mut commands: mpsc::Receiver<Command>,
) {
    let mut changed = container.changed.subscribe();
    let mut sent = 0;
    let mut over = false;
    loop {
        changed.borrow_and_update();
        let next = if over { None } else { container.after(sent) };
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                Some(command) => container.on_command(command),
                None => return,
            },
            permit = outputs.reserve(), if next.is_some() => {
                let (Ok(permit), Some(output)) = (permit, next) else { return };
                match &output {
                    Output::Event(event) => sent = event.seq,
                    Output::Ended(_) => over = true,
                }
                permit.send(output);
            }
            changed = changed.changed() => if changed.is_err() { return },
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
