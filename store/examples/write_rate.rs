//! How many durable writes a second a store makes: one after the other, 64 at once, and from 50 runners that send 20
//! events at a time. `cargo run --release -p mgx-store --example write_rate -- [directory | mongodb://…]`.
#![expect(clippy::print_stdout, reason = "a program that reports figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mgx_scheduler::{Entry, Journal};
use mgx_store::conformance::{sample_event, sample_job};
use mgx_store::{Embedded, MongoDb};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let place = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    if place.starts_with("mongodb") {
        let database = format!("write_rate_{}", std::process::id());
        let store = Arc::new(MongoDb::open(&place, &database).await?);
        store.lead("", "write_rate").await;
        measure(store.clone()).await?;
        store.close().await;
    } else {
        let directory = tempfile::tempdir_in(Path::new(&place))?;
        let store = Arc::new(Embedded::open(&directory.path().join("mgx.db"), Timestamp::now())?);
        measure(store.clone()).await?;
        store.close().await;
    }
    Ok(())
}

async fn measure(store: Arc<dyn Journal>) -> Result<(), Error> {
    for (writers, events) in [(1, 1), (64, 1), (50, 20)] {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            tasks.spawn(write(store.clone(), events, begin + TIME));
        }
        let mut waits: Vec<Duration> =
            tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        let rate = waits.len() as u128 * u128::from(events) * 1000 / begin.elapsed().as_millis();
        waits.sort();
        let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
        println!(
            "{writers:>2} writers, {events:>2} events at a time: {rate:>6} events/s, p50 {p50:?}, p99 {p99:?}"
        );
    }
    Ok(())
}

/// Writes so many events, and again, until `end`, and returns how long each time took.
async fn write(store: Arc<dyn Journal>, events: u64, end: Instant) -> Result<Vec<Duration>, Error> {
    let job = sample_job();
    let mut entry = Entry { session: job.session.clone(), job: Some(job.clone()), events: Vec::new() };
    store.write(entry.clone()).await?;
    entry.job = None;
    let mut waits = Vec::new();
    for round in 0.. {
        let begin = Instant::now();
        if begin > end {
            break;
        }
        let sources = round * events + 1..=(round + 1) * events;
        entry.events = sources.map(|source| sample_event(&job, Some(source))).collect();
        store.write(entry.clone()).await?;
        waits.push(begin.elapsed());
    }
    Ok(waits)
}
