//! The scheduler's real code under a paused clock: thousands of scenarios drawn from seeds, with crashes of the platform,
//! a journal that fails, engines that refuse, and agents that report falsely, hang and die.
//!
//! `MGX_SIM_SEEDS=100000 cargo test --release --test sim` runs more of them; `MGX_SIM_SEED=7` runs one alone.

mod crash;
mod invariants;
mod planned_job;
mod scenario;

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};

use scenario::{Guard, Scenario};

/// How many seeds an ordinary run has.
const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn simulate(seed: u64, guard: Guard) -> Result<scenario::Counts, String> {
    let run = || {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        clock.expect("a runtime").block_on(Scenario::of(seed, guard).play())
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}

/// Simulates one seed after the other, up to the first that breaks an invariant.
fn simulate_all(seeds: impl Iterator<Item = u64>) -> Result<scenario::Counts, String> {
    let mut total = scenario::Counts::default();
    for seed in seeds {
        let counts = simulate(seed, Guard::On);
        total.add(&counts.map_err(|law| format!("seed {seed}: {law}\nMGX_SIM_SEED={seed} runs it alone"))?);
    }
    Ok(total)
}

#[test]
fn every_invariant_holds_in_every_scenario() {
    let seeds = match number("MGX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MGX_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    let total = std::thread::scope(|scope| {
        let shares = (0..workers).map(|worker| seeds.clone().skip(worker).step_by(workers));
        let working: Vec<_> = shares.map(|share| scope.spawn(|| simulate_all(share))).collect();
        let mut total = scenario::Counts::default();
        for counts in working.into_iter().map(|worker| worker.join().expect("a worker catches every panic")) {
            total.add(&counts.unwrap_or_else(|law| panic!("{law}")));
        }
        total
    });
    println!("{} scenarios: {total:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start > 100 {
        assert!(total.covers_every_case(), "the scenarios no longer reach every case: {total:?}");
    }
}

/// The red controls: with a guard switched off, an invariant must break, or the invariants prove nothing.
#[test]
fn the_invariants_notice_when_a_guard_is_gone() {
    for guard in [
        Guard::EventsAreStoredOnce,
        Guard::EndedJobsAreFenced,
        Guard::OrphansAreReaped,
        Guard::JobsAreTakenUp,
        Guard::WritesAreKept,
    ] {
        let broken = (0..3_000).find_map(|seed| simulate(seed, guard).err());
        assert!(broken.is_some(), "nothing was noticed without {guard:?}");
    }
}
