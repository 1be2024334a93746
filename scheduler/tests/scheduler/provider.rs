//! Jobs whose model's provider is away: they wait without a slot, go on, and give up in the end.

use mgx_protocol::{EventKind, Invocation, JobId, ReportedResult, StateName};
use mgx_runtimes::fake::Act;
use mgx_scheduler::{Event, JobSpec, Journal, Outcome, State, WaitsFor};
use tokio::time::sleep;

use crate::support::{Fixture, SECOND, spec, submit};

/// Attempts 1 to `away` report, after ten seconds, that the provider is away; the next one succeeds.
fn provider_away(away: u32) -> Fixture {
    Fixture::scripted(move |invocation: &Invocation| {
        let is_away = invocation.attempt.0 <= away;
        let reported = is_away.then(|| ReportedResult {
            success: false,
            error: Some("overloaded".to_owned()),
            resume_after_s: Some(30),
        });
        vec![(10 * SECOND, Act::Exit { code: i32::from(is_away), oom_kills: 0, reported })]
    })
}

fn events_of(fixture: &Fixture, job: JobId) -> Vec<Event> {
    let all = fixture.journal.all_events().into_values().flatten();
    all.filter(|event| event.job == job).collect()
}

#[tokio::test(start_paused = true)]
async fn a_job_waits_for_its_provider_without_a_slot_and_goes_on() {
    let fixture = provider_away(2);
    let scheduler = fixture.open().await;
    let job = submit(&scheduler, spec("a page")).await;
    sleep(15 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Queued);
    assert_eq!(
        (scheduler.load().taken, fixture.world.container_count()),
        (0, 0),
        "slot and container are given back"
    );
    let explained = scheduler.explain(job).await.unwrap().unwrap();
    assert_eq!(explained.waits_for, WaitsFor::Provider);
    assert_eq!(explained.provider.unwrap().reason, "overloaded");
    let queued: Vec<_> = events_of(&fixture, job)
        .into_iter()
        .filter(|event| {
            event.kind == EventKind::Job(StateName::Queued) && event.data.contains_key("pause_ms")
        })
        .collect();
    assert_eq!(
        (&queued[0].data["reason"], &queued[0].data["pause_ms"]),
        (&"provider_unavailable".into(), &30_000.into())
    );

    // 10 s of work, 30 s of waiting, 10 s, twice as long a wait, 10 s
    sleep(110 * SECOND).await;
    let job = fixture.journal.job(job).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempt.0), (State::Ended(Outcome::Succeeded), 3));
    assert!((20_000..21_000).contains(&job.ran_ms), "{}", job.ran_ms);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_platform_does_not_shorten_the_wait() {
    let fixture = provider_away(1);
    let scheduler = fixture.open().await;
    let job = submit(&scheduler, spec("a page")).await;
    sleep(15 * SECOND).await;
    scheduler.shut_down(SECOND).await;
    let scheduler = fixture.reopen(15 * SECOND).await;
    sleep(20 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Queued, "it waits as long as before");
    assert_eq!(scheduler.explain(job).await.unwrap().unwrap().waits_for, WaitsFor::Provider);
    sleep(20 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Ended(Outcome::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_cancelled_at_once() {
    let fixture = provider_away(9);
    let scheduler = fixture.open().await;
    let job = submit(&scheduler, spec("a page")).await;
    sleep(15 * SECOND).await;
    scheduler.cancel(job).await.unwrap();
    assert_eq!(fixture.state(job).await, State::Ended(Outcome::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_does_not_end_fails_the_job_with_the_providers_words() {
    let fixture = provider_away(u32::MAX);
    let scheduler = fixture.open().await;
    let job = submit(&scheduler, spec("a page")).await;
    sleep(3700 * SECOND).await;
    let job = fixture.journal.job(job).await.unwrap().unwrap();
    assert_eq!((job.state.name(), job.state.reason()), (StateName::Failed, Some("provider_unavailable")));
    let error = job.error.unwrap();
    assert!(error.starts_with("overloaded") && error.contains("llm.max_outage"), "{error}");
    assert!(job.attempt.0 < 40, "it asked {} times in an hour", job.attempt.0);
}

#[tokio::test(start_paused = true)]
async fn the_run_time_of_all_attempts_counts_and_the_waits_do_not() {
    let fixture = provider_away(3);
    let scheduler = fixture.open().await;
    // three attempts of ten seconds leave five for the fourth, which needs ten
    let job = submit(&scheduler, JobSpec { timeout_s: 35, ..spec("a page") }).await;
    sleep(600 * SECOND).await;
    assert_eq!(fixture.state(job).await, State::Ended(Outcome::TimedOut));
}
