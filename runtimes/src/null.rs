//! A runtime whose containers do nothing and succeed at once: for measuring the queue.
//!
//! It runs nothing of a job. It is used only if the configuration names it, and the server says so when it starts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::{AgentEvent, EventKind, Exit, ExitCause, Invocation};
use mgx_protocol::{JobId, SlotId};
use serde_json::Map;
use tokio::sync::mpsc;

use crate::{
    Command, ContainerSpec, Ended, EngineInfo, Listed, Output, Placement, Run, Runtime, RuntimeError,
    RuntimeErrorKind,
};

/// The command `hold [MILLISECONDS]`: keeps its slot until it is asked to stop, or for the given time.
pub const HOLD: &str = "hold";

/// The command `say COUNT BYTES [PER_SECOND]`: makes COUNT events with BYTES bytes of text each, as fast as they are read,
/// or `PER_SECOND` events a second.
pub const SAY: &str = "say";

/// The most text of one event, in bytes.
const MAX_TEXT_BYTES: u64 = 60 * 1024;

/// Containers that are entries of a map and end with the process.
#[derive(Clone, Default)]
pub struct Null {
    slots: Arc<Mutex<HashMap<SlotId, bool>>>,
    observer: Option<mpsc::Sender<Invoked>>,
}

/// A job was given its invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invoked {
    /// The job.
    pub job: JobId,
    /// When.
    pub at: Instant,
}

impl Null {
    /// A runtime that sends every invocation to `observer`, while the channel has room.
    pub fn watched(observer: mpsc::Sender<Invoked>) -> Self {
        Self { observer: Some(observer), ..Self::default() }
    }

    /// Containers by slot, and whether each has been invoked.
    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, bool>> {
        self.slots.lock().expect("nothing panics while it holds this lock")
    }
}

impl fmt::Debug for Null {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Null").finish_non_exhaustive()
    }
}

#[async_trait]
impl Runtime for Null {
    async fn create(&self, _: &ContainerSpec, placement: &Placement) -> Result<(), RuntimeError> {
        let slot = &placement.slot;
        match self.lock().entry(slot.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(false);
                Ok(())
            }
            Entry::Occupied(_) => Err(error(RuntimeErrorKind::Conflict, slot)),
        }
    }

    async fn invoke(&self, slot: &SlotId, invocation: Invocation) -> Result<Run, RuntimeError> {
        match self.lock().get_mut(slot) {
            None => return Err(error(RuntimeErrorKind::NotFound, slot)),
            Some(true) => return Err(error(RuntimeErrorKind::Conflict, slot)),
            Some(invoked) => *invoked = true,
        }
        if let Some(observer) = &self.observer {
            observer.try_send(Invoked { job: invocation.job, at: Instant::now() }).ok();
        }
        let task = Task::of(&invocation.argv);
        let backlog = if task.is_speech() { Run::BACKLOG } else { 1 };
        let (outputs, outputs_of_run) = mpsc::channel(backlog);
        let (commands_of_run, commands) = mpsc::channel(backlog);
        match task {
            Task::Hold(time) => drop(tokio::spawn(hold(time, outputs, commands))),
            Task::Say(speech) => drop(tokio::spawn(say(speech, outputs, commands))),
            Task::End => {
                outputs
                    .try_send(ended(ExitCause::Ended, 0))
                    .expect("the channel is new and has room for one");
            }
        }
        Ok(Run::new(outputs_of_run, commands_of_run))
    }

    /// Containers end with the process, so no run can be resumed.
    async fn reattach(&self, slot: &SlotId) -> Result<Run, RuntimeError> {
        let kind = match self.lock().get(slot) {
            None | Some(true) => RuntimeErrorKind::NotFound,
            Some(false) => RuntimeErrorKind::NotInvoked,
        };
        Err(error(kind, slot))
    }

    async fn remove(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        self.lock().remove(slot);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        Ok(self.lock().keys().map(|slot| Listed { slot: slot.clone(), running: true }).collect())
    }

    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        Ok(EngineInfo { name: "null".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug)]
enum Task {
    End,
    /// Keeps its slot for at most this time.
    Hold(Duration),
    Say(Speech),
}

/// The events of a command `say`.
#[derive(Clone, Copy, Debug)]
struct Speech {
    count: u64,
    bytes: usize,
    /// The time between two of them.
    pause: Duration,
}

impl Task {
    fn of(argv: &[String]) -> Self {
        let number = |index: usize| argv.get(index).and_then(|number| number.parse::<u64>().ok());
        match argv.first().map(String::as_str) {
            Some(HOLD) => Self::Hold(number(1).map_or(Duration::MAX, Duration::from_millis)),
            Some(SAY) => Self::Say(Speech {
                count: number(1).unwrap_or(1),
                bytes: number(2).map_or(0, |bytes| usize::try_from(bytes.min(MAX_TEXT_BYTES)).unwrap_or(0)),
                pause: number(3).filter(|per_second| *per_second > 0).map_or(Duration::ZERO, |per_second| {
                    Duration::from_secs(1) / u32::try_from(per_second).unwrap_or(u32::MAX)
                }),
            }),
            Some(_) | None => Self::End,
        }
    }

    fn is_speech(self) -> bool {
        matches!(self, Self::Say(_))
    }
}

/// Ends after its time, when it is asked to stop, or when its [`Run`] is dropped.
async fn hold(time: Duration, outputs: mpsc::Sender<Output>, commands: mpsc::Receiver<Command>) {
    let cause = match tokio::time::timeout(time, stopped(commands)).await {
        Ok(()) => ExitCause::Stopped,
        Err(_) => ExitCause::Ended,
    };
    outputs.send(ended(cause, 0)).await.ok();
}

/// Makes its events, until it is asked to stop.
async fn say(speech: Speech, outputs: mpsc::Sender<Output>, commands: mpsc::Receiver<Command>) {
    let text: String = "All work and no play. ".chars().cycle().take(speech.bytes).collect();
    let begin = tokio::time::Instant::now();
    let mut said = 0;
    let talking = async {
        for seq in 1..=speech.count {
            if !speech.pause.is_zero() {
                let due = speech.pause.saturating_mul(u32::try_from(seq).unwrap_or(u32::MAX));
                tokio::time::sleep_until(begin + due).await;
            }
            let event = AgentEvent {
                seq,
                at: Timestamp::now(),
                kind: EventKind::MessageDelta,
                agent: Some("null".to_owned()),
                data: Map::from_iter([("delta".to_owned(), text.as_str().into())]),
            };
            if outputs.send(Output::Event(event)).await.is_err() {
                return;
            }
            said = seq;
        }
    };
    let cause = tokio::select! {
        () = stopped(commands) => ExitCause::Stopped,
        () = talking => ExitCause::Ended,
    };
    outputs.send(ended(cause, said)).await.ok();
}

async fn stopped(mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Stop(_) => return,
            Command::Ack(_) | Command::Dismiss => {}
        }
    }
}

fn ended(cause: ExitCause, last_seq: u64) -> Output {
    Output::Ended(Ended::Reported(Exit {
        last_seq,
        at: Timestamp::now(),
        code: Some(0),
        signal: None,
        oom_kills: 0,
        cause,
        reported: None,
        error: None,
    }))
}

fn error(kind: RuntimeErrorKind, slot: &SlotId) -> RuntimeError {
    RuntimeError::new(kind, format!("slot {slot} of the null runtime"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Network, OciRuntime};
    use mgx_protocol::Attempt;
    use mgx_protocol::{Conversation, Team};
    use std::collections::BTreeMap;

    fn placement(slot: &SlotId) -> Placement {
        Placement { slot: slot.clone(), workspace: None, labels: BTreeMap::new() }
    }

    fn spec() -> ContainerSpec {
        let limits = Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 };
        ContainerSpec {
            image: "none".to_owned(),
            limits,
            network: Network::None,
            oci_runtime: OciRuntime::Engines,
        }
    }

    fn invocation(argv: &[&str]) -> Invocation {
        Invocation {
            job: JobId::new(),
            attempt: Attempt(1),
            session: "demo".parse().unwrap(),
            workspace: "demo".parse().unwrap(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: BTreeMap::new(),
            workdir: "/workspace".to_owned(),
            timeout_ms: 60_000,
            grace_ms: 1000,
            memory_bytes: 0,
            team: Team::default(),
            conversation: Conversation::default(),
        }
    }

    fn cause(outputs: &[Output]) -> ExitCause {
        match outputs {
            [Output::Ended(Ended::Reported(exit))] => {
                assert_eq!((exit.code, exit.last_seq), (Some(0), 0));
                exit.cause
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_container_succeeds_at_once_and_serves_one_invocation() {
        let (observer, mut invoked) = mpsc::channel(8);
        let runtime = Null::watched(observer);
        let slot: SlotId = "job-1".parse().unwrap();
        let order = invocation(&[]);
        let job = order.job;
        let missing = runtime.invoke(&slot, order.clone()).await.expect_err("nothing is there yet");
        assert_eq!(missing.kind(), RuntimeErrorKind::NotFound);
        runtime.create(&spec(), &placement(&slot)).await.unwrap();
        let taken = runtime.create(&spec(), &placement(&slot)).await.expect_err("the slot is taken");
        assert_eq!(taken.kind(), RuntimeErrorKind::Conflict);
        let waits = runtime.reattach(&slot).await.expect_err("it was not invoked");
        assert_eq!(waits.kind(), RuntimeErrorKind::NotInvoked);

        let mut run = runtime.invoke(&slot, order.clone()).await.unwrap();
        assert_eq!(cause(&run.next(8).await), ExitCause::Ended);
        assert_eq!(invoked.recv().await.map(|invoked| invoked.job), Some(job));
        let again = runtime.invoke(&slot, order).await.expect_err("it serves no other");
        assert_eq!(again.kind(), RuntimeErrorKind::Conflict);

        assert_eq!(runtime.list().await.unwrap().len(), 1);
        runtime.remove(&slot).await.unwrap();
        runtime.remove(&slot).await.unwrap();
        assert_eq!(runtime.list().await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_command_hold_keeps_its_slot_until_it_is_stopped() {
        let runtime = Null::default();
        let slot: SlotId = "job-1".parse().unwrap();
        runtime.create(&spec(), &placement(&slot)).await.unwrap();
        let mut run = runtime.invoke(&slot, invocation(&[HOLD])).await.unwrap();
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, run.next(8)).await.is_err(), "it ended by itself");
        run.tell(Command::Stop(hour)).await;
        assert_eq!(cause(&run.next(8).await), ExitCause::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn it_makes_as_many_events_as_fast_as_it_is_told() {
        let runtime = Null::default();
        let slot: SlotId = "job-1".parse().unwrap();
        runtime.create(&spec(), &placement(&slot)).await.unwrap();
        let begun = tokio::time::Instant::now();
        let mut run = runtime.invoke(&slot, invocation(&[SAY, "1000", "7", "100"])).await.unwrap();
        let mut said = Vec::new();
        let last_seq = 'run: loop {
            for output in run.next(64).await {
                match output {
                    Output::Event(event) => {
                        assert_eq!(event.data["delta"], "All wor");
                        said.push(event.seq);
                        run.tell(Command::Ack(event.seq)).await;
                    }
                    Output::Ended(Ended::Reported(exit)) => break 'run exit.last_seq,
                    Output::Ended(other) => panic!("{other:?}"),
                }
            }
        };
        assert_eq!((said, last_seq), ((1..=1000).collect(), 1000));
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_its_slot_for_no_longer_than_it_is_told() {
        let runtime = Null::default();
        let slot: SlotId = "job-1".parse().unwrap();
        runtime.create(&spec(), &placement(&slot)).await.unwrap();
        let mut run = runtime.invoke(&slot, invocation(&[HOLD, "250"])).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(cause(&run.next(8).await), ExitCause::Ended);
        assert_eq!(begun.elapsed(), Duration::from_millis(250));
    }
}
