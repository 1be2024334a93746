//! A scheduler that starts while its engine is away, and one that starts after a restart.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use mgx_protocol::{Attempt, JobId, SlotId, StateName};
use mgx_runtimes::{ContainerSpec, Limits, Network, OciRuntime, Placement, Runtime};
use mgx_scheduler::{Journal, State, WaitsFor};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Fixture, SECOND, spec, submit};

#[tokio::test(start_paused = true)]
async fn jobs_are_accepted_and_held_until_the_engine_is_there() {
    let fixture = Fixture::new(1);
    fixture.engine.set_away(true);
    let scheduler = fixture.open().await;
    let mut jobs = Vec::new();
    for _ in 0..100 {
        jobs.push(submit(&scheduler, spec("a page")).await);
    }
    sleep(60 * SECOND).await;
    assert_eq!(fixture.state(jobs[0]).await, State::Queued);
    let explained = scheduler.explain(jobs[0]).await.unwrap().unwrap();
    assert_eq!(explained.waits_for, WaitsFor::Engine);
    assert!(explained.remedy.is_some_and(|remedy| remedy.contains("mgx doctor")));
    let asked = fixture.engine.asked.load(Ordering::Relaxed);
    assert!((1..=80).contains(&asked), "a hundred jobs wait, and one asks: {asked} questions in a minute");

    fixture.engine.set_away(false);
    let back = Instant::now();
    let report = timeout(5 * SECOND, scheduler.recovery()).await.unwrap();
    assert!(report.engine_was_away && report.listed_after_ms >= 60_000, "{report}");
    while fixture.world.container_count() == 0 {
        sleep(SECOND / 100).await;
    }
    assert!(back.elapsed() <= 3 * SECOND, "it starts soon: after {:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_disturbs_no_running_job_and_holds_waiting_ones() {
    let fixture = Fixture::new(30);
    let scheduler = fixture.open().await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(submit(&scheduler, spec("a page")).await);
    }
    sleep(SECOND).await;
    let waits = submit(&scheduler, spec("a page")).await;
    fixture.engine.set_away(true);
    sleep(60 * SECOND).await;
    for job in &runs {
        assert_eq!(fixture.state(*job).await.name(), StateName::Succeeded, "its end came over the link");
    }
    assert_eq!(fixture.state(waits).await, State::Queued, "the containers that ended hold their slots");
    fixture.engine.set_away(false);
    sleep(40 * SECOND).await;
    assert_eq!(fixture.state(waits).await.name(), StateName::Succeeded);
    assert_eq!(fixture.world.container_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_counts_what_went_on_what_had_ended_and_what_was_lost() {
    let fixture = Fixture::new(300);
    let before = fixture.open().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(submit(&before, spec("a page")).await);
    }
    sleep(SECOND).await;
    let waits = submit(&before, spec("a page")).await;
    before.shut_down(SECOND).await;

    let slot = |job: JobId| SlotId::of(job, Attempt(1));
    fixture.world.kill(&slot(jobs[1]));
    fixture.engine.inner.remove(&slot(jobs[2])).await.unwrap();
    // a crash between the making of a container and the note that says so
    let spec = ContainerSpec {
        image: "fake".to_owned(),
        limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
        network: Network::None,
        oci_runtime: OciRuntime::Engines,
    };
    let stray = SlotId::of(JobId::new(), Attempt(1));
    for slot in [slot(waits), stray.clone()] {
        fixture
            .engine
            .inner
            .create(&spec, &Placement { slot, workspace: None, labels: BTreeMap::new() })
            .await
            .unwrap();
    }

    let after = fixture.open().await;
    let report = timeout(5 * SECOND, after.recovery()).await.unwrap();
    assert_eq!(
        report.to_string().split("; in ").next(),
        Some(
            "jobs: 2 go on, 1 had ended, 1 lost, 0 started again, 1 wait; containers: 1 cleared away, 1 orphaned"
        )
    );
    sleep(SECOND).await;
    assert_eq!(fixture.state(jobs[0]).await.name(), StateName::Running);
    assert_eq!(fixture.state(jobs[1]).await.reason(), Some("runtime_lost"));
    assert_eq!(fixture.state(jobs[2]).await.reason(), Some("runtime_lost"));
    assert_eq!(fixture.state(waits).await.name(), StateName::Running, "nothing was in its way");
    assert_eq!(
        fixture.journal.job(waits).await.unwrap().unwrap().attempt,
        Attempt(1),
        "nor cost it an attempt"
    );
    let has =
        async |slot: &SlotId| fixture.engine.inner.list().await.unwrap().iter().any(|it| it.slot == *slot);
    assert!(has(&stray).await, "an orphan has some grace");
    sleep(70 * SECOND).await;
    assert!(!has(&stray).await, "and then it goes");
}
