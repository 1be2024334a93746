//! The warm pool over a real engine: conformance, late binding, and that a lease leaves nothing behind.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mgx_protocol::SlotId;
use mgx_protocol::{AgentEvent, Invocation};
use mgx_runtimes::conformance::{Kit, conformance, invocation};
use mgx_runtimes::pool::report::{Report, WorkspaceDelivery};
use mgx_runtimes::pool::{Bounds, PoolConfig};
use mgx_runtimes::{Command, ContainerSpec, Ended, Limits, Output, Placement, Pool, Run, Runtime, Workspace};
use rstest::rstest;

use crate::world::{On, World, shell};

/// The environment variable for the number of leases of one test.
const LEASES: &str = "MGX_POOL_LEASES";

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_over_an_engine_does_what_every_runtime_must(#[case] on: On) {
    let world = World::new(on, "pool-conformance").await;
    let pool = Arc::new(full(&world, 2).await);
    let names = Arc::clone(&pool);
    let (path, another, plain) = (world.path("pool"), world.another(), world.kit());
    let kill = plain.kill;
    let kit = Kit {
        kill: Box::new(move |slot| kill(names.container_of(&slot))),
        another_process: Box::new(move || {
            Box::new(Pool::open(Arc::from(another()), config(&path, 0)).unwrap())
        }),
        ..world.kit()
    };
    conformance(&*pool, &kit).await;
    let report = report(&pool);
    assert!(report.hits >= 5, "{report:?}");
    assert_eq!((report.quarantined, report.workspaces), (0, WorkspaceDelivery::Propagated), "{report:?}");
    gone(&world, &pool).await;
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_a_jobs_own_is_bound_after_the_claim(#[case] on: On) {
    let world = World::new(on, "pool-late").await;
    let pool = full(&world, 1).await;
    std::fs::write(world.path("workspace/brief"), "build a shop").unwrap();
    let placement = world.placement("late-1");
    let limits = Limits { memory_bytes: 96 << 20, cpu_quota: 70_000, pids: 48 };
    pool.create(&ContainerSpec { limits, ..World::spec() }, &placement).await.unwrap();
    assert_eq!(report(&pool).hits, 1, "{:?}", pool.report());
    let script = "cat brief; echo; echo $SECRET; echo done >answer
        cd /sys/fs/cgroup
        cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory.max 2>/dev/null
        cat cpu/cpu.cfs_quota_us cpu.max pids/pids.max pids.max 2>/dev/null; exit 0";
    let mut invocation = invocation(shell(script));
    invocation.env.insert("SECRET".to_owned(), "s3cret".to_owned());
    let said = run(&pool, &placement.slot, invocation).await;
    for line in ["build a shop", "s3cret", "100663296", "70000", "48"] {
        assert!(
            said.iter().any(|said| said.split(' ').any(|word| word == line) || said == line),
            "{line}: {said:?}"
        );
    }
    assert_eq!(std::fs::read_to_string(world.path("workspace/answer")).unwrap(), "done\n");
    pool.remove(&placement.slot).await.unwrap();
    assert!(world.path("workspace/answer").exists(), "the workspace is not the container's");
    gone(&world, &pool).await;
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_leaves_nothing_for_the_next(#[case] on: On) {
    let world = World::new(on, "pool-leases").await;
    let pool = full(&world, 2).await;
    let leases = std::env::var(LEASES).map_or(30, |leases| leases.parse().unwrap());
    // looks for what others have planted, and plants the same: files, environment, processes, shared memory
    let script = r#"
        for place in /tmp /dev/shm /workspace /var/tmp /run; do
            for file in "$place"/canary*; do [ -e "$file" ] && echo "LEFT $file"; done
        done
        for process in /proc/[0-9]*; do
            case "$(cat $process/environ $process/cmdline 2>/dev/null | tr '\0' ' ')" in
                *canary-of-*) case "$process" in /proc/$$) ;; *) echo "LEFT $process" ;; esac ;;
            esac
        done
        for place in /tmp /dev/shm /workspace; do echo canary >"$place/canary-of-$LEASE"; done
        (sleep 1000 "canary-of-$LEASE" &) ; (setsid sleep 1000 >/dev/null 2>&1 &)
        echo planted"#;
    for lease in 0..leases {
        let workspace = world.path(&format!("lease-{lease}"));
        std::fs::create_dir(&workspace).unwrap();
        std::fs::set_permissions(&workspace, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let placement = Placement {
            workspace: Some(Workspace::Directory(workspace.clone())),
            ..world.placement(&format!("lease-{lease}"))
        };
        wait_for(&pool, 1).await;
        pool.create(&World::spec(), &placement).await.unwrap();
        let mut invocation = invocation(shell(script));
        invocation.env.insert("LEASE".to_owned(), format!("canary-of-{lease}"));
        let said = run(&pool, &placement.slot, invocation).await;
        assert_eq!(
            said.iter().filter(|line| line.contains("LEFT")).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
        assert!(said.iter().any(|line| line == "planted"), "{said:?}");
        assert!(workspace.join(format!("canary-of-canary-of-{lease}")).exists());
        pool.remove(&placement.slot).await.unwrap();
    }
    let report = report(&pool);
    assert_eq!((report.hits, report.misses), (leases, 0), "{report:?}");
    println!("{leases} leases, {} of them from the pool, nothing left over", report.hits);
    gone(&world, &pool).await;
}

#[rstest]
#[case::docker(On::Docker)]
#[case::podman(On::Podman)]
#[tokio::test(flavor = "multi_thread")]
async fn warm_containers_are_idle_and_outlive_the_platform(#[case] on: On) {
    let world = World::new(on, "pool-again").await;
    let pool = full(&world, 2).await;
    let placement = world.placement("again-1");
    pool.create(&World::spec(), &placement).await.unwrap();
    let mut run =
        pool.invoke(&placement.slot, invocation(shell("echo begun; sleep 2; echo over"))).await.unwrap();
    assert!(matches!(run.next(1).await[..], [Output::Event(_)]), "it has begun");
    drop(run);
    wait_for(&pool, 2).await;
    let before = waiting(&world).await;
    drop(pool);

    let pool = full(&world, 2).await;
    assert_eq!(waiting(&world).await, before, "none was made anew");
    let mut again = pool.reattach(&placement.slot).await.unwrap();
    let (said, ended) = finish(&mut again).await;
    assert!(said.iter().any(|line| line == "over"), "{said:?}");
    assert!(matches!(ended, Ended::Reported(exit) if exit.code == Some(0)));
    pool.remove(&placement.slot).await.unwrap();
    // the runner of a warm container sleeps: its process is not woken
    let pids = runners(&world).await;
    assert_eq!(pids.len(), 2, "{pids:?}");
    let wakeups = || pids.iter().map(|pid| switches(*pid)).sum::<u64>();
    let at_first = wakeups();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(wakeups(), at_first, "{pids:?}");
    gone(&world, &pool).await;
}

/// A pool with `count` warm containers.
async fn full(world: &World, count: usize) -> Pool {
    let pool = Pool::open(Arc::from(world.runtime()), config(&world.path("pool"), count)).unwrap();
    pool.start();
    wait_for(&pool, count).await;
    pool
}

async fn wait_for(pool: &Pool, count: usize) {
    let began = Instant::now();
    while pool.report().first().is_none_or(|report| report.parked < count) {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", pool.report());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn config(directory: &Path, min: usize) -> PoolConfig {
    PoolConfig {
        directory: directory.to_owned(),
        spec: World::spec(),
        generation: "test".to_owned(),
        bounds: Bounds { min, max: 8.max(min), idle: Duration::from_mins(1) },
        memory_bytes: 1 << 40,
        refill: 2,
    }
}

fn report(pool: &Pool) -> Report {
    pool.report().into_iter().find(|report| report.image == World::spec().image).unwrap()
}

/// Runs `invocation` to its end, which has to be a good one; what it printed.
async fn run(pool: &Pool, slot: &SlotId, invocation: Invocation) -> Vec<String> {
    let mut run = pool.invoke(slot, invocation).await.unwrap();
    let (said, ended) = finish(&mut run).await;
    assert!(matches!(&ended, Ended::Reported(exit) if exit.code == Some(0)), "{ended:?} {said:?}");
    run.tell(Command::Dismiss).await;
    said
}

async fn finish(run: &mut Run) -> (Vec<String>, Ended) {
    let mut said = Vec::new();
    let text = |event: &AgentEvent| event.data.get("text").and_then(|text| text.as_str()).map(str::to_owned);
    loop {
        for output in tokio::time::timeout(Duration::from_secs(30), run.next(64)).await.unwrap() {
            match output {
                Output::Event(event) => {
                    said.extend(text(&event).unwrap_or_default().lines().map(str::to_owned));
                }
                Output::Ended(ended) => return (said, ended),
            }
        }
    }
}

/// The warm containers, as the engine has them.
async fn waiting(world: &World) -> Vec<SlotId> {
    let listed = world.runtime().list().await.unwrap().into_iter();
    let mut slots: Vec<_> =
        listed.map(|listed| listed.slot).filter(|slot| slot.as_str().starts_with("pool-")).collect();
    slots.sort();
    slots
}

/// The runners of the warm containers, as the host sees them.
async fn runners(world: &World) -> Vec<u32> {
    let marks: Vec<_> = waiting(world).await.iter().map(|slot| format!("MGX_SLOT={slot}\0")).collect();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        marks.iter().any(|mark| environment.contains(mark))
    })
    .collect()
}

/// The voluntary context switches of a process.
fn switches(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Dissolves the pool and checks that no container, mount or socket is left.
async fn gone(world: &World, pool: &Pool) {
    pool.dissolve().await;
    assert_eq!(world.runtime().list().await.unwrap(), []);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = world.path("").display().to_string();
    assert_eq!(mounts.lines().filter(|line| line.contains(&ours)).collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(std::fs::read_dir(world.path("l")).unwrap().count(), 0);
    for directory in ["parked", "claims", "seats"] {
        assert_eq!(std::fs::read_dir(world.path("pool").join(directory)).unwrap().count(), 0, "{directory}");
    }
}
