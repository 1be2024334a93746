//! The disk: how long it takes to sync a page, which is the floor of every durable write.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::shared::statistics::Latencies;

/// Bytes of a write: a page of the store.
const PAGE_BYTES: usize = 4096;

/// Pages of the file. They are written before the measurement: as in the store's log, no write extends the file.
const PAGES: u64 = 256;

/// The most syncs that are measured.
const MAX_SYNCS: usize = 1_000;

/// The longest time that syncs are measured.
const MAX_TIME: Duration = Duration::from_secs(3);

/// How long the store has to move what it wrote last.
const REST: Duration = Duration::from_secs(2);

/// Writes back what other phases and other programs have left to write (`sync(2)`), so that the next measurement begins
/// with a disk at rest.
pub(super) async fn until_at_rest() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    tokio::time::sleep(REST).await;
    Ok(())
}

/// How long a write of one page and its `fdatasync(2)` take in `directory`, one after the other. Blocks.
pub(super) fn measure_syncs(directory: &Path) -> io::Result<Latencies> {
    let path = directory.join("syncs");
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let page = [b'x'; PAGE_BYTES];
    let offset = |number: u64| number % PAGES * PAGE_BYTES as u64;
    for number in 0..PAGES {
        file.write_all_at(&page, offset(number))?;
    }
    file.sync_all()?;
    let end = Instant::now() + MAX_TIME;
    let mut samples = Vec::with_capacity(MAX_SYNCS);
    for number in 0.. {
        let began = Instant::now();
        if samples.len() == MAX_SYNCS || began > end {
            break;
        }
        file.write_all_at(&page, offset(number))?;
        file.sync_data()?;
        samples.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(Latencies::of(&samples))
}
