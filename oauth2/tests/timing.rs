//! How long a wrong password takes: as long for a user who does not exist.
//!
//! Counted in the time of the processor, which what else the machine does leaves alone, by the only test in its process;
//! and on a quiet machine, if asked, in the time that somebody waits.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests that report figures")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mgx_oauth2::{Clock, MemoryStorage, NewUser, Provider, RandomSource, Settings, SigningKeys};
use rustix::time::{ClockId, clock_gettime};

/// Each of the two is measured so often, in turn.
const TIMES: usize = 60;

/// How often the whole is measured: what disturbs one of them does not disturb all, but a provider that tells users
/// apart does.
const ROUNDS: u8 = 4;

#[tokio::test]
async fn a_user_who_does_not_exist_takes_as_long() {
    check(|| {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    })
    .await;
}

#[tokio::test]
#[ignore = "measures: for a quiet machine"]
async fn a_user_who_does_not_exist_takes_as_long_on_the_clock() {
    let begin = Instant::now();
    check(move || begin.elapsed()).await;
}

async fn check(clock: impl Fn() -> Duration) {
    let dir = tempfile::tempdir().unwrap();
    let now = Clock::new(|| Timestamp::UNIX_EPOCH);
    let keys = SigningKeys::load_or_create(&dir.path().join("signing.key"), now.now()).unwrap();
    let settings = Settings::new("https://mgx.example/oauth2".parse().unwrap());
    let provider =
        Provider::new(settings, Arc::new(MemoryStorage::default()), keys, now, RandomSource::system()).await;
    let provider = provider.unwrap();
    let ann = NewUser {
        name: "ann".parse().unwrap(),
        display_name: "Ann".to_owned(),
        email: None,
        groups: BTreeSet::new(),
        password: None,
    };
    provider.administration(None).add_user(ann).await.unwrap();
    let mut gaps = Vec::new();
    for round in 0..ROUNDS {
        let gap = gap(&provider, round, &clock).await;
        if gap <= 0.05 {
            return;
        }
        gaps.push(gap);
    }
    panic!("the medians differ by {gaps:?}");
}

/// By what part of it the medians differ. Which one comes first changes each time, so that neither is always the one
/// after the other.
async fn gap(provider: &Provider, round: u8, clock: impl Fn() -> Duration) -> f64 {
    let names = ["ann", "nobody"];
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..TIMES {
        for which in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
            let peer = [10, 1, round, u8::try_from(turn).unwrap()].into();
            let begin = clock();
            provider.check_password(names[which], &"a wrong password".into(), peer).await.unwrap_err();
            times[which].push(clock().saturating_sub(begin));
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort_unstable();
        times[TIMES / 2]
    });
    println!("median for a known user {known:?}, for an unknown one {unknown:?}");
    assert!(known > Duration::from_millis(1), "the real cost");
    (known.as_secs_f64() / unknown.as_secs_f64() - 1.0).abs()
}
