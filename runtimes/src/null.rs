//! A runtime whose containers do nothing and succeed at once: for measuring the queue around them.
//!
//! Nothing of a job is run. It is chosen by name, says so at every start, and stands in for no other runtime.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_agent_runner::protocol::{Exit, ExitCause, Invocation};
use mgx_agent_runner::{JobId, SlotId};
use tokio::sync::mpsc;

use crate::{
    Command, ContainerSpec, Ended, EngineInfo, Listed, Output, Placement, Run, Runtime, RuntimeError,
    RuntimeErrorKind,
};

/// The one command that does not end at once: it holds its slot until it is asked to stop, and no longer than its
/// argument says, in milliseconds, if it has one.
pub const HOLD: &str = "hold";

/// Containers that are entries in a map, and end with the process.
#[derive(Clone, Default)]
pub struct Null {
    slots: Arc<Mutex<HashMap<SlotId, bool>>>,
    witness: Option<mpsc::Sender<Invoked>>,
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
    /// A runtime that tells `witness` of every invocation; of none that the channel has no room for.
    pub fn watched(witness: mpsc::Sender<Invoked>) -> Self {
        Self { witness: Some(witness), ..Self::default() }
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
            Entry::Vacant(place) => {
                place.insert(false);
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
        if let Some(witness) = &self.witness {
            witness.try_send(Invoked { job: invocation.job, at: Instant::now() }).ok();
        }
        let (outputs, outputs_of_run) = mpsc::channel(1);
        let (commands_of_run, commands) = mpsc::channel(1);
        match holding(&invocation.argv) {
            Some(time) => drop(tokio::spawn(hold(time, outputs, commands))),
            None => {
                outputs.try_send(ended(ExitCause::Ended)).expect("the channel is new and has room for one");
            }
        }
        Ok(Run::new(outputs_of_run, commands_of_run))
    }

    /// Containers end with the process, so there is never one to take up again.
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

/// How long a command holds its slot at the most; `None`: it ends at once.
fn holding(argv: &[String]) -> Option<Duration> {
    let (program, rest) = argv.split_first()?;
    let millis = rest.first().and_then(|millis| millis.parse().ok()).map(Duration::from_millis);
    (program == HOLD).then(|| millis.unwrap_or(Duration::MAX))
}

/// Ends when its time is over, when it is asked to, or when nobody is left to ask.
async fn hold(time: Duration, outputs: mpsc::Sender<Output>, mut commands: mpsc::Receiver<Command>) {
    let stopped = async {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Stop(_) => break,
                Command::Ack(_) | Command::Dismiss => {}
            }
        }
    };
    let cause = match tokio::time::timeout(time, stopped).await {
        Ok(()) => ExitCause::Stopped,
        Err(_) => ExitCause::Ended,
    };
    outputs.send(ended(cause)).await.ok();
}

fn ended(cause: ExitCause) -> Output {
    Output::Ended(Ended::Reported(Exit {
        last_seq: 0,
        at: Timestamp::now(),
        code: Some(0),
        signal: None,
        oom_kills: 0,
        cause,
        claim: None,
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
    use mgx_agent_runner::Attempt;
    use mgx_agent_runner::protocol::Team;
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
            team: Team::default(),
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
        let (witness, mut invoked) = mpsc::channel(8);
        let runtime = Null::watched(witness);
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
    async fn one_command_holds_its_slot_until_it_is_stopped() {
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
    async fn it_holds_its_slot_for_no_longer_than_it_says() {
        let runtime = Null::default();
        let slot: SlotId = "job-1".parse().unwrap();
        runtime.create(&spec(), &placement(&slot)).await.unwrap();
        let mut run = runtime.invoke(&slot, invocation(&[HOLD, "250"])).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(cause(&run.next(8).await), ExitCause::Ended);
        assert_eq!(begun.elapsed(), Duration::from_millis(250));
    }
}
