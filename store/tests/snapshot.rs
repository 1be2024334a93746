//! Copies of a store that is being written: each is whole, and has everything that was acknowledged before it began.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use mgx_scheduler::{Entry, Journal};
use mgx_store::conformance::{sample_event, sample_job};
use mgx_store::{Embedded, Snapshot, SnapshotError};
use tokio::task::JoinSet;

const COPIES: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_store_in_use_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgx.db");
    let store = Arc::new(Embedded::open(&path, Timestamp::now()).unwrap());
    let (ended, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        let (store, ended, acknowledged) = (store.clone(), ended.clone(), acknowledged.clone());
        writers.spawn(async move {
            let job = sample_job();
            for number in 1.. {
                let event = sample_event(&job, Some(number));
                let entry =
                    Entry { session: job.session.clone(), job: Some(job.clone()), events: vec![event] };
                store.write(entry).await.unwrap();
                acknowledged.fetch_add(1, Ordering::SeqCst);
                if ended.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
    }
    for number in 0..COPIES {
        while acknowledged.load(Ordering::SeqCst) < 20 * (number as u64 + 1) {
            tokio::task::yield_now().await;
        }
        let before = acknowledged.load(Ordering::SeqCst);
        let (from, to) = (path.clone(), directory.path().join(format!("copy-{number}.db")));
        let taken = tokio::task::spawn_blocking({
            let to = to.clone();
            move || Snapshot::take(&from, &to).unwrap()
        });
        let taken = taken.await.unwrap();
        assert!(taken.events >= before, "{} events of {before}", taken.events);
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        let copy = Embedded::open(&to, Timestamp::now()).unwrap();
        assert_eq!((copy.instance(), taken.instance.as_str()), (store.instance(), store.instance()));
    }
    ended.store(true, Ordering::SeqCst);
    writers.join_all().await;
    let last = directory.path().join("last.db");
    store.close().await;
    let taken = Snapshot::take(&path, &last).unwrap();
    assert_eq!(taken.events, acknowledged.load(Ordering::SeqCst), "of a store that is closed, too");
    Embedded::open(&path, Timestamp::now()).expect("the store that was copied can be opened again");
}

#[tokio::test]
async fn what_is_not_a_whole_store_is_not_copied() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let missing = Snapshot::take(&at("mgx.db"), &at("copy.db"));
    assert!(matches!(missing, Err(SnapshotError::Missing(_))), "{missing:?}");
    let store = Embedded::open(&at("mgx.db"), Timestamp::now()).unwrap();
    let job = sample_job();
    let events = (1..200).map(|number| sample_event(&job, Some(number))).collect();
    store.write(Entry { session: job.session.clone(), job: Some(job), events }).await.unwrap();
    fs::copy(at("mgx.db"), at("alone.db")).unwrap();
    let alone = Snapshot::take(&at("alone.db"), &at("copy.db"));
    assert!(matches!(alone, Err(SnapshotError::Open(_))), "{alone:?}");
    Snapshot::take(&at("mgx.db"), &at("sound.db")).unwrap();
    let again = Snapshot::take(&at("mgx.db"), &at("sound.db"));
    assert!(matches!(again, Err(SnapshotError::Copy(_))), "nothing is replaced: {again:?}");
    // a damaged page in the middle
    let damaged = fs::OpenOptions::new().write(true).open(at("sound.db")).unwrap();
    let middle = damaged.metadata().unwrap().len() / 4096 / 2 * 4096;
    damaged.write_all_at(&[0x5a; 4096], middle).unwrap();
    let damaged = Snapshot::check(&at("sound.db"));
    assert!(damaged.is_err(), "{damaged:?}");
}
