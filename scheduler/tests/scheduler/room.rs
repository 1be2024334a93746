//! Room is never left idle while a job fits: by whatever way another one leaves the queue, and whatever stands before it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mgx_protocol::JobId;
use mgx_runtimes::Limits;
use mgx_scheduler::{Budget, Caps, JobSpec, Scheduler, SchedulingOptions, State, Submission, WaitsFor};
use tokio::time::sleep;

use crate::support::{Fixture, SECOND, spec, submit};

/// A host of so many bytes.
fn host(memory_bytes: u64) -> Caps {
    Caps { host: Budget { memory_bytes, ..Budget::UNLIMITED }, ..Caps::of(8) }
}

fn of_size(memory_bytes: u64) -> JobSpec {
    JobSpec { limits: Limits { memory_bytes, cpu_quota: 1, pids: 1 }, ..spec("a page") }
}

async fn submit_to(scheduler: &Scheduler, session: &str, spec: JobSpec) -> JobId {
    let (session, user) = (session.parse().unwrap(), "ada".to_owned());
    scheduler.submit(Submission { id: JobId::new(), session, user, spec }).await.unwrap().job.id
}

/// One job uses half of the host, one waits for all of it and is not overtaken any more, and a small one waits behind that.
async fn three(scheduler: &Scheduler, large: JobSpec) -> [JobId; 3] {
    let runs = submit_to(scheduler, "a", of_size(50)).await;
    let large = submit_to(scheduler, "b", large).await;
    sleep(31 * SECOND).await;
    let small = submit_to(scheduler, "c", of_size(10)).await;
    sleep(SECOND).await;
    [runs, large, small]
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_while_others_wait_behind_it_lets_them_run() {
    let fixture = Fixture::new(3600);
    let (scheduler, _) = fixture.open_with(host(100), Duration::ZERO).await;
    let [runs, large, small] = three(&scheduler, of_size(100)).await;
    assert_eq!(fixture.state(small).await, State::Queued, "the large one is not to be overtaken");
    scheduler.cancel(large).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(fixture.state(small).await, State::Running);
    assert_eq!(fixture.state(runs).await, State::Running);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_expires_while_others_wait_behind_it_lets_them_run() {
    let fixture = Fixture::new(3600);
    let (scheduler, _) = fixture.open_with(host(100), Duration::ZERO).await;
    let options = SchedulingOptions { queue_ttl_s: Some(40), ..SchedulingOptions::default() };
    let [_, _, small] = three(&scheduler, JobSpec { options, ..of_size(100) }).await;
    sleep(10 * SECOND).await;
    assert_eq!(fixture.state(small).await, State::Running);
}

#[tokio::test(start_paused = true)]
async fn a_small_job_runs_beside_a_large_one_of_its_own_session() {
    let fixture = Fixture::new(3600);
    let (scheduler, _) = fixture.open_with(host(100), Duration::ZERO).await;
    submit(&scheduler, of_size(50)).await;
    let large = submit(&scheduler, of_size(100)).await;
    let small = submit(&scheduler, of_size(10)).await;
    sleep(SECOND).await;
    assert_eq!((fixture.state(large).await, fixture.state(small).await), (State::Queued, State::Running));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_longer_fits_stands_aside_and_says_why() {
    let fixture = Fixture::new(3600);
    let (scheduler, _) = fixture.open_with(host(100), Duration::ZERO).await;
    submit_to(&scheduler, "a", of_size(50)).await;
    let large = submit_to(&scheduler, "b", of_size(100)).await;
    scheduler.shut_down(SECOND).await;
    drop(scheduler);
    // the operator has lowered the limit meanwhile
    let (scheduler, _) = fixture.open_with(host(90), 60 * SECOND).await;
    sleep(60 * SECOND).await;
    let small = submit_to(&scheduler, "c", of_size(10)).await;
    sleep(SECOND).await;
    assert_eq!(fixture.state(small).await, State::Running);
    let why = scheduler.explain(large).await.unwrap().unwrap();
    let remedy = why.remedy.unwrap();
    assert!(remedy.contains("quotas.host_memory is 90: raise that to 100"), "{remedy}");
}

#[tokio::test(start_paused = true)]
async fn containers_that_cannot_be_removed_count_for_the_host_and_not_for_their_jobs() {
    let fixture = Fixture::new(1);
    let caps = Caps { per_user: 1, ..host(100) };
    let (scheduler, _) = fixture.open_with(caps, Duration::ZERO).await;
    fixture.engine.keeps_containers.store(true, Ordering::Relaxed);
    let first = submit_to(&scheduler, "a", of_size(60)).await;
    sleep(5 * SECOND).await;
    assert!(fixture.state(first).await.has_ended());
    // the user's one job has ended: its container is no reason to wait, but its memory is
    let second = submit_to(&scheduler, "a", of_size(10)).await;
    sleep(5 * SECOND).await;
    assert!(fixture.state(second).await.has_ended());
    let large = submit_to(&scheduler, "a", of_size(50)).await;
    sleep(SECOND).await;
    let why = scheduler.explain(large).await.unwrap().unwrap();
    let binding = why.binding.unwrap();
    assert_eq!(why.waits_for, WaitsFor::Limit);
    assert_eq!((binding.limit.as_str(), binding.holders.len()), ("quotas.host_memory", 0));
    assert_eq!(binding.leftovers, [first, second]);
    assert!(why.remedy.unwrap().starts_with(&format!("remove the container of the job {first}")));
    fixture.engine.keeps_containers.store(false, Ordering::Relaxed);
    sleep(10 * SECOND).await;
    assert!(fixture.state(large).await.has_ended());
}

#[tokio::test(start_paused = true)]
async fn jobs_for_tomorrow_leave_the_queue_to_others_and_a_refusal_says_when_to_come_back() {
    let fixture = Fixture::new(1);
    let scheduler = fixture.open().await;
    let start_at = "1970-01-01T10:00:00Z".parse().ok();
    let later = || JobSpec {
        options: SchedulingOptions { start_at, ..SchedulingOptions::default() },
        ..spec("a page")
    };
    for _ in 0..1000 {
        submit(&scheduler, later()).await;
    }
    let (session, user) = ("demo".parse().unwrap(), "ada".to_owned());
    let refused = scheduler.submit(Submission { id: JobId::new(), session, user, spec: later() }).await;
    let Err(mgx_scheduler::Rejection::QueueFull { retry_after, .. }) = refused else { panic!("{refused:?}") };
    assert!(retry_after > 9 * 3600 * SECOND && retry_after <= 10 * 3600 * SECOND, "{retry_after:?}");
    let now = submit(&scheduler, spec("a page")).await;
    sleep(5 * SECOND).await;
    assert!(fixture.state(now).await.has_ended());
}
