//! Jobs whose invocation fails, and jobs whose task panics.

use std::sync::atomic::Ordering;

use mgx_protocol::{EventKind, JobId, StateName};
use mgx_scheduler::{Failure, JobSpec, Journal, Outcome, Retry, SchedulingOptions, State};
use tokio::time::sleep;

use crate::support::{Fixture, SECOND, spec, submit};

#[tokio::test(start_paused = true)]
async fn a_failed_invocation_is_retried_as_the_job_asked() {
    let fixture = Fixture::new(1);
    let scheduler = fixture.open().await;
    fixture.engine.failing_invocations.store(1, Ordering::Relaxed);
    let options =
        SchedulingOptions { retry: Retry { times: 1, backoff_s: 5 }, ..SchedulingOptions::default() };
    let job = submit(&scheduler, JobSpec { options, ..spec("a page") }).await;
    sleep(4 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Queued, "it waits for its second try");
    sleep(6 * SECOND).await;
    let job = fixture.journal.job(job).await.unwrap().unwrap();
    assert_eq!((job.state, job.runs), (State::Ended(Outcome::Succeeded), 2));
    assert_eq!(fixture.world.container_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_invocation_without_a_retry_ends_the_job() {
    let fixture = Fixture::new(1);
    let scheduler = fixture.open().await;
    fixture.engine.failing_invocations.store(1, Ordering::Relaxed);
    let job = submit(&scheduler, spec("a page")).await;
    sleep(2 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Ended(Outcome::Failed(Failure::RuntimeLost)));
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_task_panics_ends_as_failed_and_returns_its_slot() {
    let fixture = Fixture::new(1);
    let scheduler = fixture.open().await;
    // more than there are slots: each would keep its slot if the panic did
    let mut panicked = Vec::new();
    for _ in 0..6 {
        panicked.push(submit(&scheduler, spec("panic")).await);
    }
    sleep(SECOND).await;
    for job in &panicked {
        let job = fixture.journal.job(*job).await.unwrap().unwrap();
        assert_eq!((job.state.name(), job.state.reason()), (StateName::Failed, Some("internal")));
        assert!(job.ended_at.is_some() && job.error.is_some(), "{job:?}");
    }
    let finishes = |id: &JobId| {
        let events = fixture.journal.all_events().into_values().flatten();
        events.filter(|event| event.job == *id && event.kind == EventKind::Finish).count()
    };
    assert!(panicked.iter().all(|job| finishes(job) == 1));
    let load = scheduler.load();
    assert_eq!((load.waiting, load.live, load.taken), (0, 0, 0));

    let job = submit(&scheduler, spec("a page")).await;
    sleep(3 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Ended(Outcome::Succeeded), "the slots are free");
}
