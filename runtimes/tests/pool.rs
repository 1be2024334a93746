//! The warm pool over the fake runtime: it passes the conformance suite, gives each container to one job, and fails no start.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use mgx_protocol::Invocation;
use mgx_protocol::SlotId;
use mgx_runtimes::conformance::{Kit, Task, conformance, invocation};
use mgx_runtimes::fake::{Act, Creation, OnStop, Script, World};
use mgx_runtimes::pool::report::{Report, WorkspaceDelivery};
use mgx_runtimes::pool::{Bounds, PoolConfig};
use mgx_runtimes::{
    Command, ContainerSpec, Ended, Limits, Network, OciRuntime, Output, Placement, Pool, Runtime,
    RuntimeErrorKind, Workspace,
};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;
use tokio::time::sleep;

const MISSING: &str = "missing";
const MIB: u64 = 1 << 20;
const CREATE_TIME: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn a_pool_does_what_every_runtime_must() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = Arc::new(started(&world, directory.path(), config()).await);
    let (others, path, killer, names) =
        (world.clone(), directory.path().to_owned(), world.clone(), Arc::clone(&pool));
    let kit = Kit {
        spec: spec("agent"),
        missing: spec(MISSING),
        workspace: None,
        argv: |task| vec![format!("{task:?}")],
        kill: Box::new(move |slot| {
            let (killer, slot) = (killer.clone(), names.container_of(&slot));
            Box::pin(async move { killer.kill(&slot) })
        }),
        another_process: Box::new(move || Box::new(open(&others, &path, config()))),
    };
    conformance(&*pool, &kit).await;
    sleep(2 * CREATE_TIME).await;
    let report = report(&pool);
    assert!(report.hits >= 5, "{report:?}");
    assert_eq!(report.parked, report.target, "it is full again: {report:?}");
    pool.dissolve().await;
    assert_eq!(world.container_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_claims_a_warm_container_and_the_pool_is_refilled() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = started(&world, directory.path(), config()).await;
    assert_eq!(
        (pool.list().await.unwrap(), world.container_count()),
        (vec![], 3),
        "warm containers are no job's"
    );
    let begun = tokio::time::Instant::now();
    let slot = create(&pool, "job-1").await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing was made for it");
    assert_eq!(slots(&pool).await, ["job-1"]);
    let run = pool.invoke(&slot, invocation(vec!["Hello".to_owned()])).await.unwrap();
    assert!(matches!(last(run).await, Ended::Reported(exit) if exit.code == Some(3)));
    sleep(2 * CREATE_TIME).await;
    assert_eq!(world.container_count(), 4);
    pool.remove(&slot).await.unwrap();
    assert_eq!((pool.list().await.unwrap(), world.container_count()), (vec![], 3));
    let report = report(&pool);
    assert_eq!((report.hits, report.misses, report.hit_rate()), (1, 0, Some(1.0)));
    assert!((195..=300).contains(&report.cold_ms_avoided), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_delays_no_start() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = started(&world, directory.path(), config()).await;
    let starts = (0..20).map(|number| {
        let pool = &pool;
        async move {
            let begun = tokio::time::Instant::now();
            create(pool, &format!("job-{number}")).await;
            begun.elapsed()
        }
    });
    let mut took = join_all(starts).await;
    took.sort();
    assert_eq!(took[..3], [Duration::ZERO; 3]);
    assert_eq!(took[3..], [CREATE_TIME; 17], "the others start as if there were no pool");
    assert_eq!(slots(&pool).await.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_needs_another_container_gets_one() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = started(&world, directory.path(), config()).await;
    let limits = Limits { pids: 7, ..spec("agent").limits };
    for (name, spec, workspace) in [
        ("larger-1", ContainerSpec { limits, ..spec("agent") }, None),
        ("image-1", spec("another"), None),
        ("workspace-1", spec("agent"), Some(Workspace::Directory(directory.path().to_owned()))),
    ] {
        let placement = Placement { workspace, ..placement(name) };
        pool.create(&spec, &placement).await.unwrap();
    }
    // fake containers have no control groups, and no workspace can be mounted into them
    let reports = pool.report();
    let agent = reports.iter().find(|report| report.image == "agent").unwrap();
    assert_eq!((agent.hits, agent.misses, agent.quarantined, agent.parked), (0, 2, 0, 3));
    assert_eq!(agent.workspaces, WorkspaceDelivery::Cold);
    assert_eq!(slots(&pool).await, ["image-1", "larger-1", "workspace-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_warm_container_that_dies_is_replaced_and_never_claimed() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = started(&world, directory.path(), config()).await;
    for slot in parked(&world).await {
        world.kill(&slot);
    }
    // a start before the pool has noticed
    create(&pool, "job-1").await;
    sleep(3 * CREATE_TIME).await;
    assert_eq!(running(&world).await, 4, "one works, three wait");
    let report = report(&pool);
    assert_eq!((report.quarantined, report.parked), (3, 3), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn warm_containers_survive_a_restart_and_claimed_ones_keep_their_slot() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = started(&world, directory.path(), config()).await;
    let busy = create(&pool, "busy-1").await;
    drop(pool.invoke(&busy, invocation(vec!["Sleep".to_owned()])).await.unwrap());
    let idle = create(&pool, "idle-1").await;
    sleep(3 * CREATE_TIME).await;
    let before = parked(&world).await;
    drop(pool);

    let created = world.counts().created;
    let pool = started(&world, directory.path(), config()).await;
    assert_eq!((world.counts().created, report(&pool).parked), (created, 3), "none was made anew");
    assert_eq!(parked(&world).await, before);
    assert_eq!(slots(&pool).await, ["busy-1", "idle-1"]);
    assert_eq!(pool.reattach(&idle).await.unwrap_err().kind(), RuntimeErrorKind::NotInvoked);
    let run = pool.reattach(&busy).await.unwrap();
    run.tell(Command::Stop(Duration::from_secs(1))).await;
    assert!(matches!(last(run).await, Ended::Reported(_)));
    for slot in [busy, idle] {
        pool.remove(&slot).await.unwrap();
    }
    create(&pool, "job-3").await;
    assert_eq!(report(&pool).hits, 1);
}

#[tokio::test(start_paused = true)]
async fn containers_of_another_build_or_without_an_entry_are_removed() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    drop(started(&world, directory.path(), config()).await);
    // created, and not in the ledger when the platform was killed
    let lost = Placement { slot: "pool-lost".parse().unwrap(), ..placement("x") };
    world.runtime().create(&spec("agent"), &lost).await.unwrap();
    let before = parked(&world).await;
    let newer = PoolConfig { generation: "2".to_owned(), ..config() };
    let pool = started(&world, directory.path(), newer).await;
    assert_eq!(report(&pool).parked, 3);
    assert_eq!(world.container_count(), 3);
    assert!(parked(&world).await.iter().all(|slot| !before.contains(slot)));
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_cannot_be_filled_asks_the_engine_less_and_less_often() {
    static IS_WELL: AtomicBool = AtomicBool::new(false);
    let creation = |spec: &ContainerSpec, slot: &SlotId| {
        let is_pools = slot.as_str().starts_with("pool-");
        match creation(spec, slot) {
            Creation::Ready(after) if is_pools && !IS_WELL.load(Ordering::Relaxed) => {
                Creation::FailsButExists(after, RuntimeErrorKind::Deadline)
            }
            birth => birth,
        }
    };
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let pool = open(&world, directory.path(), config());
    pool.start();
    sleep(Duration::from_mins(5)).await;
    let tries = world.counts().created;
    assert!((8..16).contains(&tries), "it waits longer and longer: {tries}");
    assert!(report(&pool).broken);
    create(&pool, "job-1").await;
    assert_eq!(world.container_count(), 1, "what failed is removed, and jobs start all the same");
    IS_WELL.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(70)).await;
    let report = report(&pool);
    assert_eq!((report.broken, report.parked), (false, 3), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn warm_containers_are_bounded_by_memory_and_follow_the_demand() {
    let (world, directory) = (World::new(creation, script), PoolDirectory::new());
    let two = PoolConfig { memory_bytes: 2 * 64 * MIB, ..config() };
    let pool = open(&world, directory.path(), two);
    pool.start();
    sleep(5 * CREATE_TIME).await;
    assert_eq!(report(&pool).parked, 2, "there is memory for no more");
    drop(pool);

    let directory = PoolDirectory::new();
    let world = World::new(creation, script);
    let pool = started(&world, directory.path(), config()).await;
    for number in 0..150 {
        let slot = create(&pool, &format!("job-{number}")).await;
        pool.remove(&slot).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    let busy = report(&pool);
    assert!((6..=10).contains(&busy.target), "{busy:?}");
    assert!(busy.hit_rate().unwrap() > 0.95, "{busy:?}");
    sleep(Duration::from_mins(3)).await;
    let idle = report(&pool);
    assert_eq!((idle.target, idle.parked, world.container_count()), (3, 3, 3));
    // at least three of 64 MiB each for three minutes
    assert!(idle.wasted_mib_s >= 3 * 64 * 180, "{idle:?}");
}

/// A directory whose mounts are removed with it, because a pool that is dropped leaves them.
struct PoolDirectory(TempDir);

impl PoolDirectory {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for PoolDirectory {
    fn drop(&mut self) {
        while unmount(self.path().join("pool/seats"), UnmountFlags::DETACH).is_ok() {}
    }
}

/// A pool with three warm containers.
async fn started(world: &World, directory: &Path, config: PoolConfig) -> Pool {
    let pool = open(world, directory, config);
    pool.start();
    while pool.report().first().is_none_or(|report| report.parked < 3) {
        sleep(Duration::from_millis(10)).await;
    }
    pool
}

fn open(world: &World, directory: &Path, config: PoolConfig) -> Pool {
    let config = PoolConfig { directory: directory.join("pool"), ..config };
    Pool::open(Arc::new(world.runtime()), config).unwrap()
}

fn config() -> PoolConfig {
    PoolConfig {
        directory: "unused".into(),
        spec: spec("agent"),
        generation: "1".to_owned(),
        bounds: Bounds { min: 3, max: 10, idle: Duration::from_mins(1) },
        memory_bytes: 1 << 40,
        refill: 2,
    }
}

fn report(pool: &Pool) -> Report {
    pool.report().into_iter().find(|report| report.image == "agent").unwrap()
}

async fn create(pool: &Pool, slot: &str) -> SlotId {
    let placement = placement(slot);
    pool.create(&spec("agent"), &placement).await.unwrap();
    placement.slot
}

async fn slots(runtime: &dyn Runtime) -> Vec<String> {
    let mut slots: Vec<_> =
        runtime.list().await.unwrap().into_iter().map(|listed| listed.slot.to_string()).collect();
    slots.sort();
    slots
}

/// The warm containers, as the world has them.
async fn parked(world: &World) -> Vec<SlotId> {
    let listed = world.runtime().list().await.unwrap().into_iter();
    listed.map(|listed| listed.slot).filter(|slot| slot.as_str().starts_with("pool-")).collect()
}

async fn running(world: &World) -> usize {
    world.runtime().list().await.unwrap().into_iter().filter(|listed| listed.running).count()
}

async fn last(mut run: mgx_runtimes::Run) -> Ended {
    loop {
        for output in run.next(64).await {
            if let Output::Ended(ended) = output {
                return ended;
            }
        }
    }
}

fn creation(spec: &ContainerSpec, _: &SlotId) -> Creation {
    match spec.image.as_str() {
        MISSING => Creation::Fails(Duration::from_millis(1), RuntimeErrorKind::ImageMissing),
        _ => Creation::Ready(CREATE_TIME),
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
    let limits = Limits { memory_bytes: 64 * MIB, cpu_quota: 100_000, pids: 64 };
    ContainerSpec {
        image: image.to_owned(),
        limits,
        network: Network::None,
        oci_runtime: OciRuntime::Engines,
    }
}

fn placement(slot: &str) -> Placement {
    Placement { slot: slot.parse().unwrap(), workspace: None, labels: BTreeMap::new() }
}
