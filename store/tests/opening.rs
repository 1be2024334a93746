//! Opening, holding and closing the embedded store: what the operator gets to read.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use mgx_scheduler::{Entry, Journal, JournalError};
use mgx_store::conformance::{sample_event, sample_job};
use mgx_store::{Embedded, OpenError};
use tempfile::TempDir;
use tokio::time::timeout;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/mgx.db");
    (directory, path)
}

fn open(path: &Path) -> Result<Embedded, OpenError> {
    Embedded::open(path, "2026-01-02T03:04:05.6Z".parse::<Timestamp>().unwrap())
}

/// The refusal, with what changes from run to run put out of sight.
fn refusal(path: &Path) -> String {
    let error = open(path).unwrap_err();
    let pid = std::process::id().to_string();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let text = error.to_string().replace(path.to_str().unwrap(), "<store>").replace(&pid, "<pid>");
    text.replace(&format!("on {} ", host.trim()), "on <host> ")
}

fn submission() -> Entry {
    let job = sample_job();
    let events = vec![sample_event(&job, Some(1))];
    Entry { session: job.session.clone(), job: Some(job), events }
}

#[test]
fn a_second_process_is_told_who_was_first() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    insta::assert_snapshot!(refusal(&path), @"<store> is in use by pid <pid> on <host> since 2026-01-02T03:04:05Z");
    drop(store);
    open(&path).expect("free again");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (_directory, path) = place();
    drop(open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 999).unwrap();
    drop(raw);
    let before = fs::read(&path).unwrap();
    insta::assert_snapshot!(refusal(&path), @"<store> has schema 999, and this version of mgx knows schemas up to 5: start the newer version");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TABLE cookies (x)").unwrap();
    drop(raw);
    let before = fs::read(&path).unwrap();
    insta::assert_snapshot!(refusal(&path), @"<store> is the database of another program");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_damaged_file_is_named() {
    let (_directory, path) = place();
    drop(open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(b'x');
    fs::write(&path, &bytes).unwrap();
    insta::assert_snapshot!(refusal(&path), @"<store> is damaged: file is not a database: put a backup in its place");

    bytes.truncate(0);
    bytes.resize(5000, b'\n');
    fs::write(&path, &bytes).unwrap();
    insta::assert_snapshot!(refusal(&path), @"<store> is damaged: file is not a database: put a backup in its place");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file/mgx.db");
    fs::write(directory.path().join("file"), "").unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}

#[test]
fn only_its_owner_can_read_it() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    for file in ["mgx.db", "mgx.db-wal", "mgx.db.lock"] {
        let mode = fs::metadata(path.with_file_name(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    drop(store);
}

#[test]
fn an_instance_keeps_its_name() {
    let (_directory, path) = place();
    let name = open(&path).unwrap().instance().to_owned();
    assert_eq!(name.len(), 12);
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{name}");
    assert_eq!(open(&path).unwrap().instance(), name);
    let (_other_directory, other) = place();
    assert_ne!(open(&other).unwrap().instance(), name);
}

#[tokio::test]
async fn closing_moves_everything_into_the_one_file() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let entry = submission();
    store.write(entry.clone()).await.unwrap();
    store.head(&entry.session).await.unwrap();
    store.close().await;
    let log = fs::metadata(path.with_file_name("mgx.db-wal")).map_or(0, |file| file.len());
    assert_eq!(log, 0, "nothing is left in the log");
    for answer in [store.write(submission()).await.err(), store.head(&entry.session).await.err()] {
        assert!(matches!(answer, Some(JournalError::Unavailable(_))), "{answer:?}");
    }
    let again = open(&path).expect("free, although the old handle is still there");
    assert_eq!(again.head(&entry.session).await.unwrap().seq, 1);
}

#[tokio::test]
async fn a_store_that_another_program_has_locked_answers_in_time() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let rude = rusqlite::Connection::open(&path).unwrap();
    rude.execute_batch("BEGIN IMMEDIATE").unwrap();
    let entry = submission();
    let answer =
        timeout(Duration::from_secs(10), store.write(entry.clone())).await.expect("an answer in time");
    assert!(matches!(answer, Err(JournalError::Unavailable(_))), "{answer:?}");
    rude.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.head(&entry.session).await.unwrap().seq, 0, "nothing was written");
    assert_eq!(store.write(entry).await.unwrap().len(), 1, "and it works again");
}

/// Copies the file of the database alone, as `cp` does while a server uses it, and opens the copy.
fn copied_alone(path: &Path) -> String {
    let (_directory, copy) = place();
    fs::create_dir_all(copy.parent().unwrap()).unwrap();
    fs::copy(path, &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    let refused = refusal(&copy);
    assert_eq!(fs::read(&copy).unwrap(), before, "it was not changed");
    refused
}

#[tokio::test]
async fn the_database_without_its_log_is_refused() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.write(submission()).await.unwrap();
    insta::assert_snapshot!(copied_alone(&path), @"<store> is only a part of a store: the newest writes are in its write-ahead log <store>-wal, which is missing. Put that file beside it, or restore a backup (docs/backup.md)");
    // the same after `kill -9`, when the log was thrown away
    let (_other, killed) = place();
    fs::create_dir_all(killed.parent().unwrap()).unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(format!("{}{suffix}", path.display()), format!("{}{suffix}", killed.display())).unwrap();
    }
    let copied = open(&killed).expect("with its log it is whole");
    assert_eq!(copied.instance(), store.instance());
    store.close().await;
    let (_closed, alone) = place();
    fs::create_dir_all(alone.parent().unwrap()).unwrap();
    fs::copy(&path, &alone).unwrap();
    open(&alone).expect("a store that was closed is one file");
}

#[test]
fn a_database_without_content_is_no_new_platform() {
    let (_directory, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE lost (x)").unwrap();
    insta::assert_snapshot!(copied_alone(&path), @"<store> holds nothing: everything is in its write-ahead log <store>-wal, which is missing. Put that file beside it, or restore a backup (docs/backup.md); to begin a new platform, delete the empty file");
    drop(raw);
    fs::write(&path, "").unwrap();
    open(&path).expect("an empty file is a new store");
}
