//! The lock that keeps a second process from opening the store, with a note about the process that holds it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use crate::embedded::open_error::OpenError;

/// How long a lock may outlive the one who held it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The lock on the store. It is released when this value is dropped or the process ends; the file stays.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl Lock {
    /// Takes the lock `<store>.lock`, and writes into the file which process holds it.
    pub(crate) fn take(store: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let path = beside(store);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(OpenError::io(&path))?;
        // a process that runs a program leaves the lock to its child for a moment, until the child has begun it
        let end = Instant::now() + RELEASE_TIMEOUT;
        let locked = loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(RELEASE_TIMEOUT / 50);
                }
                locked => break locked,
            }
        };
        match locked {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Held { path: store.to_owned(), by: holder(&mut file) });
            }
            Err(error) => return Err(OpenError::io(&path)(error.into())),
        }
        let text = format!("pid {} on {} since {now:.0}\n", std::process::id(), host());
        file.set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()))
            .map(|()| Self(file))
            .map_err(OpenError::io(&path))
    }
}

/// What the holder wrote; `another process` if it has not written yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(200).read_to_string(&mut text);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if read.is_err() || text.is_empty() { "another process".to_owned() } else { text }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this host".to_owned() } else { name.to_owned() }
}

fn beside(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
