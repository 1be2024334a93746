//! Containers that are silent and have not ended.

use std::time::Duration;

use mgx_runtimes::conformance::invocation;
use mgx_runtimes::{Command, Ended, Output};
use rstest::rstest;
use tokio::time::timeout;

use crate::outage::until_printed;
use crate::restarted::end;
use crate::world::{On, World, shell};

/// How long one step of a test may take.
const STEP_LIMIT: Duration = Duration::from_secs(20);

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_is_waited_for_after_a_restart_of_the_platform(#[case] on: On) {
    let world = World::new(on, "paused").await;
    let runtime = world.runtime();
    let placement = world.placement("paused-1");
    runtime.create(&World::spec(), &placement).await.unwrap();
    let script = "echo up; while [ ! -e /workspace/go ]; do sleep 0.1; done; echo went on; exit 3";
    let mut run = runtime.invoke(&placement.slot, invocation(shell(script))).await.unwrap();
    until_printed(&mut run, "up").await;
    let (client, name) = (on.client().await, format!("mgx-{}", placement.slot));
    client.pause_container(&name).await.unwrap();
    drop((runtime, run));

    let successor = world.runtime();
    let mut run = timeout(STEP_LIMIT, successor.reattach(&placement.slot)).await.unwrap().unwrap();
    let silent = timeout(Duration::from_secs(1), run.next(1)).await;
    assert!(silent.is_err(), "nothing is known of it: {silent:?}");
    std::fs::write(world.path("workspace/go"), "").unwrap();
    client.unpause_container(&name).await.unwrap();
    until_printed(&mut run, "went on").await;
    let ended = timeout(STEP_LIMIT, run.next(1)).await.unwrap();
    assert!(
        matches!(&ended[..], [Output::Ended(Ended::Reported(exit))] if exit.code == Some(3)),
        "{ended:?}"
    );
    run.tell(Command::Dismiss).await;
    successor.remove(&placement.slot).await.unwrap();
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_that_is_killed_has_ended(#[case] on: On) {
    let world = World::new(on, "paused-killed").await;
    let runtime = world.runtime();
    let placement = world.placement("paused-2");
    runtime.create(&World::spec(), &placement).await.unwrap();
    let mut run = runtime.invoke(&placement.slot, invocation(shell("echo up; exec sleep 60"))).await.unwrap();
    until_printed(&mut run, "up").await;
    let (client, name) = (on.client().await, format!("mgx-{}", placement.slot));
    client.pause_container(&name).await.unwrap();
    drop((runtime, run));
    let successor = world.runtime();
    let mut run = timeout(STEP_LIMIT, successor.reattach(&placement.slot)).await.unwrap().unwrap();
    client.remove_container(&name, Some(force())).await.unwrap();
    let ended = end(&mut run).await;
    assert!(matches!(ended, Ended::Died { .. } | Ended::Lost), "{ended:?}");
    successor.remove(&placement.slot).await.unwrap();
}

fn force() -> bollard::query_parameters::RemoveContainerOptions {
    bollard::query_parameters::RemoveContainerOptionsBuilder::new().force(true).build()
}
