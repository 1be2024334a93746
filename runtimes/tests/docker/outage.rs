//! An engine that goes away and comes back, or stops answering, behind a socket that the test forwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mgx_runtimes::conformance::invocation;
use mgx_runtimes::{Command, Ended, Output, Run, RuntimeErrorKind};
use rstest::rstest;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::world::{On, World, shell};

/// How long one step of a test may take.
const STEP_LIMIT: Duration = Duration::from_secs(20);

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_without_its_engine_and_its_exit_is_reported_afterwards(#[case] on: On) {
    let world = World::new(on, "outage").await;
    let socket = world.path("engine.sock");
    let engine = forward(on, &socket);
    let runtime = world.runtime_at(&format!("unix://{}", socket.display()));
    let placement = world.placement("outage-1");
    runtime.create(&World::spec(), &placement).await.unwrap();
    let script = "echo one; while [ ! -e /workspace/go ]; do sleep 0.1; done; echo two; exec sleep 60";
    let mut run = runtime.invoke(&placement.slot, invocation(shell(script))).await.unwrap();
    until_printed(&mut run, "one").await;

    engine.abort();
    std::fs::remove_file(&socket).unwrap();
    let error = runtime.list().await.unwrap_err();
    assert_eq!(error.kind(), RuntimeErrorKind::Unavailable, "{error}");
    std::fs::write(world.path("workspace/go"), "").unwrap();
    until_printed(&mut run, "two").await;

    on.kill(placement.slot.clone()).await;
    let early = timeout(Duration::from_secs(1), run.next(1)).await;
    assert!(early.is_err(), "the engine cannot have reported the exit yet: {early:?}");
    let _engine = forward(on, &socket);
    let told = timeout(STEP_LIMIT, run.next(1)).await.unwrap();
    assert_eq!(told, [Output::Ended(Ended::Died { code: 137 })]);
    run.tell(Command::Dismiss).await;
    runtime.remove(&placement.slot).await.unwrap();
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_engine_that_does_not_answer_ends_at_its_deadline(#[case] on: On) {
    let world = World::new(on, "silence").await;
    let socket = world.path("engine.sock");
    let engine = forward(on, &socket);
    let runtime = world.runtime_at(&format!("unix://{}", socket.display()));
    runtime.info().await.unwrap();
    engine.abort();
    std::fs::remove_file(&socket).unwrap();
    let _silent = UnixListener::bind(&socket).unwrap();
    let start = Instant::now();
    let error = runtime.info().await.unwrap_err();
    assert_eq!(error.kind(), RuntimeErrorKind::Deadline, "{error}");
    assert!((1..4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

/// Forwards `socket` to the engine; aborting the task breaks every connection.
fn forward(on: On, socket: &Path) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let engine = PathBuf::from(on.host().trim_start_matches("unix://"));
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let engine = engine.clone();
            connections.spawn(async move {
                let mut far = UnixStream::connect(engine).await.unwrap();
                copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    })
}

pub(crate) async fn until_printed(run: &mut Run, text: &str) {
    loop {
        for output in timeout(STEP_LIMIT, run.next(1)).await.unwrap() {
            let Output::Event(event) = output else { panic!("it ended: {output:?}") };
            if event.data.values().any(|value| value.as_str().is_some_and(|it| it.contains(text))) {
                return;
            }
        }
    }
}
