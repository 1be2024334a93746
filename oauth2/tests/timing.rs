//! A wrong password takes as long for an unknown user as for a known one.
//!
//! Measured in processor time, which other load on the machine does not change, by the only test of its process; and
//! in wall time by an ignored test for a quiet machine.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests that report figures")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mgx_oauth2::{Clock, MemoryStorage, NewUser, Provider, RandomSource, Settings, SigningKeys};
use rustix::time::{ClockId, clock_gettime};

/// The measurements per user and round, taken in turn.
const TIMES: usize = 60;

/// The most rounds. One undisturbed round suffices: a provider that distinguishes users fails in all of them.
const ROUNDS: u8 = 4;

#[tokio::test]
async fn an_unknown_user_takes_as_long() {
    check(|| {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
    })
    .await;
}

#[tokio::test]
#[ignore = "measures: for a quiet machine"]
async fn an_unknown_user_takes_as_long_in_wall_time() {
    let begin = Instant::now();
    check(move || begin.elapsed()).await;
}

async fn check(clock: impl Fn() -> Duration) {
    let dir = tempfile::tempdir().unwrap();
    let now = Clock::new(|| Timestamp::UNIX_EPOCH);
    let keys = SigningKeys::for_tests(&dir.path().join("signing.key"), now.now()).unwrap();
    let settings = Settings::new("https://mgx.example/oauth2".parse().unwrap());
    let provider =
        Provider::new(settings, Arc::new(MemoryStorage::default()), keys, now, RandomSource::system()).await;
    let provider = provider.unwrap();
    let ann = NewUser {
        name: "ann".parse().unwrap(),
        display_name: "Ann".to_owned(),
        email: None,
        email_verified: false,
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

/// The relative difference of the medians. The order of the two users alternates, so that neither is always second.
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
