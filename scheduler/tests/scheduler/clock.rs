//! The machine's clock is set, or the machine slept: start times follow it, time limits do not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mgx_protocol::StateName;
use mgx_scheduler::{Caps, JobSpec, SchedulingOptions, State};
use tokio::time::sleep;

use crate::support::{Fixture, SECOND, spec, submit};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn at(start_at: Timestamp) -> JobSpec {
    let options = SchedulingOptions { start_at: Some(start_at), ..SchedulingOptions::default() };
    JobSpec { options, ..spec("a page") }
}

#[tokio::test(start_paused = true)]
async fn a_start_time_comes_when_the_machines_clock_shows_it() {
    let fixture = Fixture::new(3600);
    let (scheduler, clock) = fixture.open_with(Caps::of(4), Duration::ZERO).await;
    let due = submit(&scheduler, at(clock.now() + HOUR)).await;
    clock.set(clock.now() + HOUR);
    sleep(SECOND).await;
    assert_eq!(fixture.state(due).await, State::Running);
    let soon = submit(&scheduler, at(clock.now() + SignedDuration::from_secs(5))).await;
    let stored = scheduler.job(soon).await.unwrap().unwrap();
    assert!(stored.queued_at >= Timestamp::UNIX_EPOCH + HOUR, "{}", stored.queued_at);
    sleep(7 * SECOND).await;
    assert_eq!(fixture.state(soon).await, State::Running);

    let later = submit(&scheduler, at(clock.now() + SignedDuration::from_secs(5))).await;
    clock.set(clock.now() - HOUR);
    sleep(60 * SECOND).await;
    assert_eq!(fixture.state(later).await, State::Queued, "the clock was set back");
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_is_elapsed_time() {
    let fixture = Fixture::new(3600);
    let (scheduler, clock) = fixture.open_with(Caps::of(4), Duration::ZERO).await;
    let job = submit(&scheduler, JobSpec { timeout_s: 100, ..spec("a page") }).await;
    sleep(10 * SECOND).await;
    clock.set(clock.now() + HOUR);
    sleep(80 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Running);
    clock.set(clock.now() - HOUR - HOUR);
    sleep(20 * SECOND).await;
    assert_eq!(fixture.state(job).await.name(), StateName::TimedOut);
    let job = scheduler.job(job).await.unwrap().unwrap();
    let ran = job.ended_at.unwrap().duration_since(job.started_at.unwrap());
    assert!((100..110).contains(&ran.as_secs()), "{ran:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_expires_by_the_machines_clock() {
    let fixture = Fixture::new(3600);
    let (scheduler, clock) = fixture.open_with(Caps::of(1), Duration::ZERO).await;
    submit(&scheduler, spec("a page")).await;
    let options = SchedulingOptions { queue_ttl_s: Some(1800), ..SchedulingOptions::default() };
    let waits = submit(&scheduler, JobSpec { options, ..spec("a page") }).await;
    sleep(SECOND).await;
    clock.set(clock.now() + HOUR);
    sleep(SECOND).await;
    assert_eq!(fixture.state(waits).await.name(), StateName::Expired);
}
