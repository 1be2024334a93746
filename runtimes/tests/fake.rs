//! The fake runtime passes the conformance suite, so that tests on it hold for the others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use mgx_protocol::Invocation;
use mgx_runtimes::conformance::{Kit, Task, conformance};
use mgx_runtimes::fake::{Act, Creation, OnStop, Script, World};
use mgx_runtimes::{ContainerSpec, Limits, Network, OciRuntime, RuntimeErrorKind};

const MISSING: &str = "missing";

#[tokio::test(start_paused = true)]
async fn the_fake_does_what_every_runtime_must() {
    let world = World::new(creation, script);
    let (others, killer) = (world.clone(), world.clone());
    let kit = Kit {
        spec: spec("fake"),
        missing: spec(MISSING),
        workspace: None,
        argv: |task| vec![format!("{task:?}")],
        kill: Box::new(move |slot| {
            let killer = killer.clone();
            Box::pin(async move { killer.kill(&slot) })
        }),
        another_process: Box::new(move || Box::new(others.runtime())),
    };
    conformance(&world.runtime(), &kit).await;
    assert_eq!(world.container_count(), 0);
}

fn creation(spec: &ContainerSpec, _: &mgx_protocol::SlotId) -> Creation {
    match spec.image.as_str() {
        MISSING => Creation::Fails(Duration::from_millis(1), RuntimeErrorKind::ImageMissing),
        _ => Creation::Ready(Duration::from_millis(200)),
    }
}

fn script(invocation: &Invocation) -> Script {
    let soon = Duration::from_millis(100);
    let say = |text: &str| (soon, Act::Say(text.to_owned()));
    let exit = |code, oom_kills| (soon, Act::Exit { code, oom_kills, reported: None });
    let task = [Task::Hello, Task::Count, Task::Sleep, Task::Ignore, Task::ExhaustMemory]
        .into_iter()
        .find(|task| format!("{task:?}") == invocation.argv[0])
        .unwrap();
    let acts = match task {
        Task::Hello => vec![say("hello"), exit(3, 0)],
        Task::Count => (1..=20).map(|number: u32| say(&number.to_string())).chain([exit(0, 0)]).collect(),
        Task::Sleep | Task::Ignore => vec![say("ready")],
        Task::ExhaustMemory => vec![exit(137, 1)],
    };
    let on_stop = if task == Task::Ignore { OnStop::Ignores } else { OnStop::Ends(soon) };
    Script { acts, on_stop }
}

fn spec(image: &str) -> ContainerSpec {
    let limits = Limits { memory_bytes: 64 << 20, cpu_quota: 100_000, pids: 64 };
    ContainerSpec {
        image: image.to_owned(),
        limits,
        network: Network::None,
        oci_runtime: OciRuntime::Engines,
    }
}
