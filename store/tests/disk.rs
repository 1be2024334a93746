//! A disk that is full, and a disk that fails. Both need privileges or tools; a machine without them says so.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

fn said(job: &Job, source: u64) -> Entry {
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
        // as much as fits
        fs::write(&ballast, vec![1; 2 << 20]).unwrap_err();
        let error = loop {
            match store.write(said(&job, source + 1)).await {
                Ok(_) => source += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, JournalError::Full), "{error}");
        assert!(matches!(store.write(said(&job, source + 1)).await, Err(JournalError::Full)), "and again");
        let mut large = sample_session();
        large.name = "x".repeat(10_000);
        assert!(matches!(store.insert(&large).await, Err(StoreError::Full)));
        assert_eq!(store.head(&job.session).await.unwrap().seq, source, "it can still be read");
        times_full += 1;
        fs::remove_file(&ballast).unwrap();
        store.write(said(&job, source + 1)).await.expect("there is space");
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

/// The third fsync of the child fails, once. The disk would take the fourth without complaint; the store must not try.
#[test]
fn a_failed_fsync_is_never_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mgx.db");
    drop(open(&path));
    let child = Command::new("strace")
        .args(["-f", "-o"])
        .arg(directory.path().join("trace"))
        .args(["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=3"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_whose_disk_fails", "--nocapture"])
        .env(STORE, &path)
        .output();
    let Ok(child) = child else {
        eprintln!("SKIPPED: failing an fsync needs strace");
        return;
    };
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    let acked: u64 =
        said.lines().filter_map(|line| line.strip_prefix("acked ")?.parse().ok()).max().unwrap_or(0);

    // a new process reads what is really there
    let trace = fs::read_to_string(directory.path().join("trace")).unwrap();
    assert!(trace.contains("EIO"), "the fault was injected: {trace}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&path);
        let session = said.lines().find_map(|line| line.strip_prefix("session ")?.parse().ok()).unwrap();
        let head = store.head(&session).await.unwrap();
        assert!(head.seq >= acked, "{} of {acked} acknowledged are there", head.seq);
    });
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
        match store.write(said(&job, source + 1)).await {
            Ok(_) => source += 1,
            Err(error) => break error,
        }
        assert!(source < 100, "no fsync has failed");
        println!("acked {source}");
    };
    assert!(matches!(&error, JournalError::Unavailable(_)), "{error}");
    for _ in 0..3 {
        let again = store.write(said(&job, source + 1)).await;
        assert!(matches!(&again, Err(JournalError::Unavailable(why)) if why.contains("broken")), "{again:?}");
    }
    let reason = timeout(Duration::from_secs(5), store.failed()).await.expect("it says that it has failed");
    assert!(reason.contains("broken"), "{reason}");
}
