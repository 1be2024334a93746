//! The conformance suite: what every runtime must do, as a function that a test calls with its runtime and a [`Kit`].
//!
//! `docs/examples/runtime` calls it from a crate of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use mgx_protocol::{AgentEvent, Attempt, Conversation, Exit, ExitCause, Invocation, JobId, SlotId, Team};
use tokio::time::{Instant, timeout};

use crate::{Command, ContainerSpec, Ended, Output, Placement, Run, Runtime, RuntimeErrorKind, Workspace};

/// How long one step of a test may take.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// What the suite needs to know of a runtime.
pub struct Kit {
    /// The specification of a container in which every [`Task`] can run.
    pub spec: ContainerSpec,
    /// The same with an image that does not exist.
    pub missing: ContainerSpec,
    /// A workspace that is writable for the container's user.
    pub workspace: Option<PathBuf>,
    /// The command of a task.
    pub argv: fn(Task) -> Vec<String>,
    /// Sends SIGKILL to the first process in the container of a slot.
    pub kill: Box<dyn Fn(SlotId) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Opens the runtime once more, as another process of the platform.
    pub another_process: Box<dyn Fn() -> Box<dyn Runtime> + Send + Sync>,
}

/// What a command has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Print `hello` and exit with code 3.
    Hello,
    /// Print a number, 1 to 20, each 100 ms; exit with code 0.
    Count,
    /// Print `ready`, then sleep for a minute; SIGTERM ends it.
    Sleep,
    /// Print `ready`, then sleep for a minute and ignore SIGTERM.
    Ignore,
    /// Allocate more memory than the limit.
    ExhaustMemory,
}

impl fmt::Debug for Kit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kit").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// A promise that a runtime cannot keep, because there is no container around its runners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// There are no images.
    Images,
    /// The memory of commands is not limited.
    MemoryLimit,
}

/// Runs every test; panics with the first rule that `runtime` breaks.
pub async fn conformance(runtime: &dyn Runtime, kit: &Kit) {
    conformance_without(&[], runtime, kit).await;
}

/// Runs every test but those of what the runtime declares as `unsupported`.
pub async fn conformance_without(unsupported: &[Unsupported], runtime: &dyn Runtime, kit: &Kit) {
    a_container_serves_from_create_to_remove(runtime, kit).await;
    a_slot_holds_one_container(runtime, kit).await;
    an_empty_slot_is_not_found(runtime).await;
    if !unsupported.contains(&Unsupported::Images) {
        a_missing_image_is_reported_as_such(runtime, kit).await;
    }
    a_command_is_stopped_gently(runtime, kit).await;
    a_stubborn_command_is_killed_after_the_grace_time(runtime, kit).await;
    a_command_ends_at_its_deadline(runtime, kit).await;
    a_run_survives_the_platform(kit).await;
    an_exit_that_the_runner_did_not_report_is_reported(runtime, kit).await;
    a_run_that_has_ended_can_be_resumed(kit).await;
    a_container_without_an_invocation_is_reported_and_can_be_invoked(kit).await;
    if !unsupported.contains(&Unsupported::MemoryLimit) {
        memory_is_limited(runtime, kit).await;
    }
    let left = runtime.list().await.expect("the engine answers");
    assert_eq!(left, [], "nothing is left over");
}

async fn a_container_serves_from_create_to_remove(runtime: &dyn Runtime, kit: &Kit) {
    assert_ne!(runtime.info().await.expect("the engine answers").version, "");
    let slot = create(runtime, kit).await;
    assert_eq!(running(runtime, &slot).await, Some(true));
    let mut run = invoke(runtime, kit, &slot, Task::Hello).await;
    let (events, ended) = finish(&mut run).await;
    assert!(contain(&events, "hello"), "{events:?} {ended:?}");
    let exit = reported(ended);
    assert_eq!((exit.code, exit.signal, exit.cause), (Some(3), None, ExitCause::Ended));
    assert_eq!(exit.last_seq, numbered(&events), "the exit names the last event");
    run.tell(Command::Dismiss).await;
    remove(runtime, &slot).await;
    runtime.remove(&slot).await.expect("removing again is no error");
}

async fn a_slot_holds_one_container(runtime: &dyn Runtime, kit: &Kit) {
    let slot = a_slot();
    let placement = placement(kit, &slot);
    let created = join_all((0..5).map(|_| runtime.create(&kit.spec, &placement))).await;
    assert_eq!(created.iter().filter(|created| created.is_ok()).count(), 1, "{created:?}");
    for error in created.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind(), RuntimeErrorKind::Conflict, "{error}");
    }
    let other = (kit.another_process)();
    let conflict = other.create(&kit.spec, &placement).await.expect_err("the slot is taken");
    assert_eq!(conflict.kind(), RuntimeErrorKind::Conflict, "{conflict}");
    assert_eq!(running(runtime, &slot).await, Some(true), "the refused calls did no harm");
    remove(runtime, &slot).await;
}

async fn an_empty_slot_is_not_found(runtime: &dyn Runtime) {
    let slot = a_slot();
    let invoked = runtime.invoke(&slot, invocation(Vec::new())).await;
    assert_eq!(invoked.expect_err("the slot is empty").kind(), RuntimeErrorKind::NotFound);
    let reattached = runtime.reattach(&slot).await;
    assert_eq!(reattached.expect_err("the slot is empty").kind(), RuntimeErrorKind::NotFound);
    runtime.remove(&slot).await.expect("removing nothing is no error");
}

async fn a_missing_image_is_reported_as_such(runtime: &dyn Runtime, kit: &Kit) {
    let slot = a_slot();
    let created = runtime.create(&kit.missing, &placement(kit, &slot)).await;
    assert_eq!(created.expect_err("there is no image").kind(), RuntimeErrorKind::ImageMissing);
    assert_eq!(running(runtime, &slot).await, None);
}

async fn a_command_is_stopped_gently(runtime: &dyn Runtime, kit: &Kit) {
    let slot = create(runtime, kit).await;
    let mut run = invoke(runtime, kit, &slot, Task::Sleep).await;
    until_printed(&mut run, "ready").await;
    let start = Instant::now();
    run.tell(Command::Stop(STEP_LIMIT)).await;
    let exit = reported(finish(&mut run).await.1);
    assert_eq!((exit.signal, exit.cause), (Some(15), ExitCause::Stopped), "{exit:?}");
    assert!(start.elapsed() < STEP_LIMIT / 2, "it did not wait for the end of the grace time");
    remove(runtime, &slot).await;
}

async fn a_stubborn_command_is_killed_after_the_grace_time(runtime: &dyn Runtime, kit: &Kit) {
    let slot = create(runtime, kit).await;
    let mut run = invoke(runtime, kit, &slot, Task::Ignore).await;
    until_printed(&mut run, "ready").await;
    let (start, grace) = (Instant::now(), Duration::from_millis(700));
    run.tell(Command::Stop(grace)).await;
    let exit = reported(finish(&mut run).await.1);
    assert_eq!((exit.signal, exit.cause), (Some(9), ExitCause::Stopped), "{exit:?}");
    assert!(start.elapsed() >= grace, "it had its grace time");
    remove(runtime, &slot).await;
}

async fn a_command_ends_at_its_deadline(runtime: &dyn Runtime, kit: &Kit) {
    let slot = create(runtime, kit).await;
    let invocation = Invocation { timeout_ms: 500, ..invocation((kit.argv)(Task::Sleep)) };
    let mut run = runtime.invoke(&slot, invocation).await.expect("it is ready");
    let exit = reported(finish(&mut run).await.1);
    assert_eq!((exit.signal, exit.cause), (Some(15), ExitCause::Deadline), "{exit:?}");
    remove(runtime, &slot).await;
}

async fn a_run_survives_the_platform(kit: &Kit) {
    let first = (kit.another_process)();
    let slot = create(&*first, kit).await;
    let mut run = invoke(&*first, kit, &slot, Task::Count).await;
    let read = until_printed(&mut run, "3").await;
    let stored = numbered(&read);
    run.tell(Command::Ack(stored)).await;
    drop((first, run));

    let successor = (kit.another_process)();
    let mut run = successor.reattach(&slot).await.expect("it still runs");
    let (rest, ended) = finish(&mut run).await;
    let resumed = rest.first().expect("there is more to come").seq;
    assert!(resumed <= stored + 1, "no event is lost: {resumed} after {stored}");
    let all: Vec<_> = read.into_iter().chain(rest.into_iter().filter(|event| event.seq > stored)).collect();
    let exit = reported(ended);
    assert_eq!(exit.last_seq, numbered(&all));
    assert_eq!(exit.code, Some(0));
    assert!(contain(&all, "20"), "{all:?}");
    run.tell(Command::Dismiss).await;
    remove(&*successor, &slot).await;
}

async fn an_exit_that_the_runner_did_not_report_is_reported(runtime: &dyn Runtime, kit: &Kit) {
    let slot = create(runtime, kit).await;
    let mut run = invoke(runtime, kit, &slot, Task::Sleep).await;
    until_printed(&mut run, "ready").await;
    (kit.kill)(slot.clone()).await;
    assert_eq!(finish(&mut run).await.1, Ended::Died { code: 137 });
    assert_eq!(running(runtime, &slot).await, Some(false), "it is there until it is removed");
    remove(runtime, &slot).await;
}

async fn a_run_that_has_ended_can_be_resumed(kit: &Kit) {
    let first = (kit.another_process)();
    let slot = create(&*first, kit).await;
    let mut run = invoke(&*first, kit, &slot, Task::Sleep).await;
    until_printed(&mut run, "ready").await;
    drop((first, run));
    (kit.kill)(slot.clone()).await;
    let successor = (kit.another_process)();
    let mut run = successor.reattach(&slot).await.expect("its remains are there");
    assert_eq!(finish(&mut run).await.1, Ended::Died { code: 137 });
    remove(&*successor, &slot).await;
}

async fn a_container_without_an_invocation_is_reported_and_can_be_invoked(kit: &Kit) {
    let first = (kit.another_process)();
    let slot = create(&*first, kit).await;
    drop(first);
    let successor = (kit.another_process)();
    let reattached = successor.reattach(&slot).await;
    assert_eq!(reattached.expect_err("it has no run").kind(), RuntimeErrorKind::NotInvoked);
    let mut run = invoke(&*successor, kit, &slot, Task::Hello).await;
    assert_eq!(reported(finish(&mut run).await.1).code, Some(3));
    let again = successor.invoke(&slot, invocation((kit.argv)(Task::Hello))).await;
    assert_eq!(again.expect_err("it serves once").kind(), RuntimeErrorKind::Conflict);
    remove(&*successor, &slot).await;
}

async fn memory_is_limited(runtime: &dyn Runtime, kit: &Kit) {
    let slot = create(runtime, kit).await;
    let mut run = invoke(runtime, kit, &slot, Task::ExhaustMemory).await;
    let exit = reported(finish(&mut run).await.1);
    assert!(exit.oom_kills >= 1, "{exit:?}");
    remove(runtime, &slot).await;
}

async fn create(runtime: &dyn Runtime, kit: &Kit) -> SlotId {
    let slot = a_slot();
    let placement = placement(kit, &slot);
    let creating = runtime.create(&kit.spec, &placement);
    timeout(STEP_LIMIT, creating).await.expect("creating has a deadline").expect("it becomes ready");
    slot
}

async fn invoke(runtime: &dyn Runtime, kit: &Kit, slot: &SlotId, task: Task) -> Run {
    runtime.invoke(slot, invocation((kit.argv)(task))).await.expect("it is ready")
}

async fn remove(runtime: &dyn Runtime, slot: &SlotId) {
    timeout(STEP_LIMIT, runtime.remove(slot))
        .await
        .expect("removing has a deadline")
        .expect("it can be removed");
    assert_eq!(running(runtime, slot).await, None, "it is gone");
}

/// Whether the container of `slot` runs; `None`: there is none.
async fn running(runtime: &dyn Runtime, slot: &SlotId) -> Option<bool> {
    let list = runtime.list().await.expect("the engine answers");
    list.into_iter().find(|listed| listed.slot == *slot).map(|listed| listed.running)
}

/// All events up to the end, and the end.
async fn finish(run: &mut Run) -> (Vec<AgentEvent>, Ended) {
    let mut events = Vec::new();
    loop {
        for output in timeout(STEP_LIMIT, run.next(64)).await.expect("it ends in time") {
            match output {
                Output::Event(event) => events.push(event),
                Output::Ended(ended) => return (events, ended),
            }
        }
    }
}

/// All events up to the one that says `text`.
async fn until_printed(run: &mut Run, text: &str) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    while !contain(&events, text) {
        for output in timeout(STEP_LIMIT, run.next(1)).await.expect("it speaks in time") {
            match output {
                Output::Event(event) => events.push(event),
                Output::Ended(ended) => panic!("it ended before it said {text:?}: {ended:?}, {events:?}"),
            }
        }
    }
    events
}

fn contain(events: &[AgentEvent], text: &str) -> bool {
    events
        .iter()
        .any(|event| event.data.values().any(|value| value.as_str().is_some_and(|it| it.contains(text))))
}

/// The number of the last of `events`, which have to be numbered from 1 without gaps.
fn numbered(events: &[AgentEvent]) -> u64 {
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event.seq, seq, "events are numbered without gaps: {events:?}");
    }
    events.len() as u64
}

fn reported(ended: Ended) -> Exit {
    match ended {
        Ended::Reported(exit) => exit,
        Ended::Died { .. } | Ended::Restarted | Ended::Lost => panic!("the runner did not report: {ended:?}"),
    }
}

fn a_slot() -> SlotId {
    SlotId::of(JobId::new(), Attempt(1))
}

fn placement(kit: &Kit, slot: &SlotId) -> Placement {
    Placement {
        slot: slot.clone(),
        workspace: kit.workspace.clone().map(Workspace::Directory),
        labels: BTreeMap::new(),
    }
}

/// An invocation of `argv` that has a minute.
pub fn invocation(argv: Vec<String>) -> Invocation {
    Invocation {
        job: JobId::new(),
        attempt: Attempt(1),
        session: "conformance".parse().expect("a valid id"),
        workspace: "conformance".parse().expect("a valid id"),
        argv,
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        workdir: "/workspace".to_owned(),
        timeout_ms: 60_000,
        grace_ms: 1_000,
        memory_bytes: 0,
        team: Team::default(),
        conversation: Conversation::default(),
    }
}
