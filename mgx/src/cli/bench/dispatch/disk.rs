//! The floor of every durable write: how long this disk takes to sync a few bytes.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::latency::Latency;

/// Bytes of a write: a page of the store.
const PAGE: usize = 4096;

/// Pages of the file, which are there before they are measured: as with the store's log, a write extends nothing.
const PAGES: u64 = 256;

/// How many syncs are measured, and for how long at the most.
const SYNCS: usize = 1_000;
const TIME: Duration = Duration::from_secs(3);

/// How long the store may take to move what it wrote last.
const REST: Duration = Duration::from_secs(2);

/// Writes back what other phases and other programs have left to write (`sync(2)`), so that what is measured next begins
/// with a disk at rest.
pub(super) async fn rest() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    tokio::time::sleep(REST).await;
    Ok(())
}

/// How long a write of one page and its `fdatasync(2)` take in `directory`, one after the other. Blocks.
pub(super) fn syncs(directory: &Path) -> io::Result<Latency> {
    let path = directory.join("syncs");
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let page = [b'x'; PAGE];
    let offset = |number: u64| number % PAGES * PAGE as u64;
    for number in 0..PAGES {
        file.write_all_at(&page, offset(number))?;
    }
    file.sync_all()?;
    let end = Instant::now() + TIME;
    let mut samples = Vec::with_capacity(SYNCS);
    for number in 0.. {
        let began = Instant::now();
        if samples.len() == SYNCS || began > end {
            break;
        }
        file.write_all_at(&page, offset(number))?;
        file.sync_data()?;
        samples.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(Latency::of(&samples))
}
