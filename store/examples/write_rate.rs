//! How many durable writes a second the embedded store makes, one after the other and 64 at once:
//! `cargo run --release -p mgx-store --example write_rate -- [directory]`.
#![expect(clippy::print_stdout, reason = "a program that reports figures")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mgx_scheduler::{Entry, Journal};
use mgx_store::Embedded;
use mgx_store::conformance::{sample_event, sample_job};
use tokio::task::JoinSet;

/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent)?;
    let store = Arc::new(Embedded::open(&directory.path().join("mgx.db"), Timestamp::now())?);
    for writers in [1, 64] {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            tasks.spawn(write(Arc::clone(&store), begin + TIME));
        }
        let mut waits: Vec<Duration> =
            tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
        let rate = waits.len() as u128 * 1000 / begin.elapsed().as_millis();
        waits.sort();
        let p99 = waits[waits.len() * 99 / 100];
        println!("{writers:>2} writers: {rate:>6} events/s, p99 {p99:?}");
    }
    store.close().await;
    Ok(())
}

/// Writes one event after the other until `end`, and returns how long each took.
async fn write(
    store: Arc<Embedded>,
    end: Instant,
) -> Result<Vec<Duration>, Box<dyn std::error::Error + Send + Sync>> {
    let job = sample_job();
    let mut entry = Entry { session: job.session.clone(), job: Some(job.clone()), events: Vec::new() };
    store.write(entry.clone()).await?;
    entry.job = None;
    let mut waits = Vec::new();
    for source in 1.. {
        let begin = Instant::now();
        if begin > end {
            break;
        }
        entry.events = vec![sample_event(&job, Some(source))];
        store.write(entry.clone()).await?;
        waits.push(begin.elapsed());
    }
    Ok(waits)
}
