//! Containers that are started again by hand: their command runs once.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, RestartContainerOptionsBuilder};
use mgx_runtimes::conformance::invocation;
use mgx_runtimes::{Ended, Output, Run};
use rstest::rstest;
use tokio::time::timeout;

use crate::outage::until_printed;
use crate::world::{On, World, shell};

/// How long one step of a test may take.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// How often each case is tried: before, it took luck.
const REPEATS: usize = 3;

/// How a container is started again.
#[derive(Clone, Copy, Debug)]
enum How {
    /// `docker kill`, `docker start`.
    KillAndStart,
    /// `docker restart -t 0`.
    Restart,
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_once_whatever_starts_its_container_again(
    #[values(On::Docker, On::Podman)] on: On,
    #[values(How::KillAndStart, How::Restart)] how: How,
    #[values(false, true)] while_the_platform_is_away: bool,
) {
    let world = World::new(on, "restarted").await;
    for repeat in 0..REPEATS {
        let runtime = world.runtime();
        let name = format!("restarted-{how:?}-{while_the_platform_is_away}-{repeat}").to_lowercase();
        let placement = world.placement(&name);
        runtime.create(&World::spec(), &placement).await.unwrap();
        let script = format!("echo run >> /workspace/{name}; echo up; exec sleep 60");
        let mut run = runtime.invoke(&placement.slot, invocation(shell(&script))).await.unwrap();
        until_printed(&mut run, "up").await;
        let container = format!("mgx-{}", placement.slot);
        let (runtime, mut run) = if while_the_platform_is_away {
            drop((runtime, run));
            start_again(on, how, &container).await;
            let successor = world.runtime();
            let run = successor.reattach(&placement.slot).await.unwrap();
            (successor, run)
        } else {
            start_again(on, how, &container).await;
            (runtime, run)
        };
        let ended = end(&mut run).await;
        assert!(!matches!(&ended, Ended::Reported(exit) if exit.code == Some(0)), "{ended:?}");
        // a second run would write at once
        tokio::time::sleep(Duration::from_secs(1)).await;
        let runs = std::fs::read_to_string(world.path("workspace").join(&name)).unwrap();
        assert_eq!(runs, "run\n", "{ended:?}");
        runtime.remove(&placement.slot).await.unwrap();
    }
}

async fn start_again(on: On, how: How, container: &str) {
    let client = on.client().await;
    match how {
        How::KillAndStart => {
            let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
            client.kill_container(container, Some(options)).await.unwrap();
            let started = async || client.start_container(container, None).await;
            // an engine may not know yet that it has ended
            let starting = async { while started().await.is_err() {} };
            timeout(STEP_LIMIT, starting).await.unwrap();
        }
        How::Restart => {
            let options = RestartContainerOptionsBuilder::new().t(0).build();
            client.restart_container(container, Some(options)).await.unwrap();
        }
    }
}

/// Reads to the end.
pub(crate) async fn end(run: &mut Run) -> Ended {
    loop {
        for output in timeout(STEP_LIMIT, run.next(1)).await.expect("it ends in time") {
            if let Output::Ended(ended) = output {
                return ended;
            }
        }
    }
}
