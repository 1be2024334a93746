//! A full disk and a failing disk. Both need privileges or tools; without them the tests print that they are skipped.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use mgx_apps::{SessionStore, StoreError};
use mgx_scheduler::{Entry, Job, Journal, JournalError};
use mgx_store::Embedded;
use mgx_store::conformance::{sample_event, sample_job, sample_session};
use tokio::time::timeout;

const STORE: &str = "MGX_TEST_STORE";

/// A file system of 1 MiB in memory, unmounted in the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "mgx-test"])
            .arg(directory.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(directory));
        }
        eprintln!("SKIPPED: mounting a small disk needs root");
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0.path()).status().ok();
    }
}

fn open(path: &Path) -> Embedded {
    Embedded::open(path, Timestamp::now()).unwrap()
}

fn entry(job: &Job, source: u64) -> Entry {
    Entry {
        session: job.session.clone(),
        job: Some(job.clone()),
        events: vec![sample_event(job, Some(source))],
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_works_again_when_there_is_space() {
    let Some(disk) = SmallDisk::mount() else { return };
    let job = sample_job();
    let store = open(&disk.path("mgx.db"));
    let (mut source, mut times_full) = (0, 0);
    for _ in 0..5 {
        let ballast = disk.path("ballast");
        // fills the disk
        fs::write(&ballast, vec![1; 2 << 20]).unwrap_err();
        let error = loop {
            match store.write(entry(&job, source + 1)).await {
                Ok(_) => source += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, JournalError::Full), "{error}");
        assert!(matches!(store.write(entry(&job, source + 1)).await, Err(JournalError::Full)), "and again");
        let mut large = sample_session();
        large.name = "x".repeat(10_000);
        assert!(matches!(store.insert(&large).await, Err(StoreError::Full)));
        assert_eq!(store.head(&job.session).await.unwrap().seq, source, "it can still be read");
        times_full += 1;
        fs::remove_file(&ballast).unwrap();
        store.write(entry(&job, source + 1)).await.expect("there is space");
        source += 1;
    }
    assert_eq!(times_full, 5);
    store.close().await;

    let store = open(&disk.path("mgx.db"));
    let events = store.events(&job.session, 0, 10_000).await.unwrap();
    let told: Vec<_> =
        events.iter().map(|event| (event.seq, event.data["source"].as_u64().unwrap())).collect();
    assert_eq!(told, (1..=source).map(|number| (number, number)).collect::<Vec<_>>());
}

/// Runs a child test of this binary on `store` under strace, with `faults` injected and its system calls in `trace`.
fn traced(child: &str, store: &Path, calls: &str, faults: &[&str], trace: &Path) -> Option<Output> {
    let output = Command::new("strace")
        .args(["-f", "-s", "100", "-e", &format!("trace={calls}")])
        .args(faults.iter().flat_map(|fault| ["-e", fault]))
        .arg("-o")
        .arg(trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", child, "--nocapture"])
        .env(STORE, store)
        .output();
    if output.is_err() {
        eprintln!("SKIPPED: seeing and failing system calls needs strace");
    }
    output.ok()
}

fn acked(line: &str) -> Option<u64> {
    line.split_once("acked ")?.1.split_once('.')?.0.parse().ok()
}

/// A late fsync of the child fails, once, when it writes. The next would succeed; the store must not try it.
#[tokio::test]
async fn a_failed_fsync_is_never_tried_again() {
    fsync_fails_once(20).await;
}

/// The first fsync of all is that of the mark in the log.
#[tokio::test]
async fn a_failed_fsync_of_the_stores_own_writes_is_never_tried_again_either() {
    fsync_fails_once(1).await;
}

async fn fsync_fails_once(number: usize) {
    let directory = tempfile::tempdir().unwrap();
    let (path, trace) = (directory.path().join("mgx.db"), directory.path().join("trace"));
    drop(open(&path));
    let fault = format!("inject=fsync,fdatasync:error=EIO:when={number}");
    let Some(child) = traced("child_whose_disk_fails", &path, "fsync,fdatasync", &[&fault], &trace) else {
        return;
    };
    let entry = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{entry}\n{}", String::from_utf8_lossy(&child.stderr));
    let trace = fs::read_to_string(&trace).unwrap();
    let (_, after) = trace.split_once("EIO").expect("the fault was injected");
    assert!(!after.contains("sync("), "nothing was synced after it: {trace}");

    let store = open(&path);
    let session = entry.lines().find_map(|line| line.strip_prefix("session ")?.parse().ok()).unwrap();
    let acked = entry.lines().filter_map(acked).max().unwrap_or(0);
    assert_eq!(acked > 0, number > 1, "some were acknowledged");
    let head = store.head(&session).await.unwrap();
    assert!(head.seq >= acked, "a new process finds {} of {acked} acknowledged", head.seq);
}

#[tokio::test]
#[ignore = "the child of a_failed_fsync_is_never_tried_again"]
async fn child_whose_disk_fails() {
    let path = std::env::var(STORE).expect("started by its parent");
    let store = open(Path::new(&path));
    let job = sample_job();
    println!("\nsession {}", job.session);
    let mut source = 0;
    let error = loop {
        match store.write(entry(&job, source + 1)).await {
            Ok(_) => source += 1,
            Err(error) => break error,
        }
        assert!(source < 100, "no fsync has failed");
        println!("acked {source}.");
    };
    assert!(matches!(&error, JournalError::Unavailable(_)), "{error}");
    for _ in 0..3 {
        let again = store.write(entry(&job, source + 1)).await;
        assert!(matches!(&again, Err(JournalError::Unavailable(why)) if why.contains("broken")), "{again:?}");
    }
    let reason = timeout(Duration::from_secs(5), store.failed()).await.expect("it says that it has failed");
    assert!(reason.contains("broken"), "{reason}");
}

/// `kill -9` cannot show this: the kernel keeps what a killed process has written; a power cut would lose it.
#[test]
fn no_write_is_acknowledged_before_it_is_synced() {
    let directory = tempfile::tempdir().unwrap();
    let (path, trace) = (directory.path().join("mgx.db"), directory.path().join("trace"));
    let Some(child) = traced("child_that_writes_ten", &path, "fsync,fdatasync,write,pwrite64", &[], &trace)
    else {
        return;
    };
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let trace = fs::read_to_string(&trace).unwrap();
    let (mut unsynced, mut written, mut seen) = (false, false, 0);
    for line in trace.lines() {
        if line.contains("pwrite64(") {
            (unsynced, written) = (true, true);
        } else if line.contains("sync") && line.ends_with("= 0") {
            unsynced = false;
        } else if let Some(number) = acked(line) {
            seen += 1;
            assert_eq!(number, seen);
            assert!(written && !unsynced, "{number} was acknowledged too early: {trace}");
            written = false;
        }
    }
    assert_eq!(seen, 10);
}

#[tokio::test]
#[ignore = "the child of no_write_is_acknowledged_before_it_is_synced"]
async fn child_that_writes_ten() {
    let path = std::env::var(STORE).expect("started by its parent");
    let store = open(Path::new(&path));
    let job = sample_job();
    for source in 1..=10 {
        store.write(entry(&job, source)).await.unwrap();
        println!("acked {source}.");
    }
}

/// The child is killed at its first change to the file, at its second, and so on, until one runs to its end.
#[tokio::test]
async fn a_process_that_is_killed_while_it_creates_the_store_leaves_one_that_opens() {
    const CALLS: &str = "pwrite64,fsync,fdatasync,ftruncate,unlink";
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    for step in 1.. {
        let path = directory.path().join(format!("{step}.db"));
        let fault = format!("inject={CALLS}:signal=KILL:when={step}");
        let Some(child) = traced("child_that_creates_a_store", &path, CALLS, &[&fault], &trace) else {
            return;
        };
        let store = open(&path);
        assert_eq!(store.instance().len(), 12);
        let job = sample_job();
        assert_eq!(store.write(entry(&job, 1)).await.unwrap().len(), 1);
        if child.status.success() {
            assert!(step > 5, "a child was killed in the middle, too: {step}");
            break;
        }
    }
}

#[test]
#[ignore = "the child of a_process_that_is_killed_while_it_creates_the_store_leaves_one_that_opens"]
fn child_that_creates_a_store() {
    let path = std::env::var(STORE).expect("started by its parent");
    open(Path::new(&path));
}
