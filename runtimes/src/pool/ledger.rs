//! The ledger: files that tell which containers are warm and which job has claimed which, for the time after a restart.
//!
//! `parked/SLOT` describes a warm container. A claim moves it to `claims/JOB'S SLOT` in one rename, which succeeds once, so a
//! container is always in exactly one of both. Entries survive a kill of the process, but not a loss of power, which ends
//! every container as well.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mgx_protocol::{Nonce, SlotId};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::ContainerSpec;

/// The files.
#[derive(Debug)]
pub(crate) struct Ledger {
    parked: PathBuf,
    claims: PathBuf,
}

/// A container that is warm, or was until it was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its slot in the runtime below.
    pub(crate) slot: SlotId,
    /// The nonce of its runner.
    pub(crate) nonce: Nonce,
    /// Its specification.
    pub(crate) spec: ContainerSpec,
    /// The build of the image that it was made from.
    pub(crate) generation: String,
}

impl Ledger {
    /// The ledger in `directory`, which is made.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let ledger = Self { parked: directory.join("parked"), claims: directory.join("claims") };
        fs::create_dir_all(&ledger.parked)?;
        fs::create_dir_all(&ledger.claims)?;
        Ok(ledger)
    }

    /// Records that a container is warm.
    pub(crate) fn park(&self, entry: &Entry) -> io::Result<()> {
        let path = self.parked.join(entry.slot.as_str());
        let half = path.with_extension("half");
        fs::write(&half, serde_json::to_vec(entry)?)?;
        fs::rename(half, path)
    }

    /// Gives the warm container of `slot` to `job`; false if the job has a container already.
    pub(crate) fn claim(&self, slot: &SlotId, job: &SlotId) -> io::Result<bool> {
        let (from, to) = (self.parked.join(slot.as_str()), self.claims.join(job.as_str()));
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The slot of the container that `job` has claimed.
    pub(crate) fn claimed_by(&self, job: &SlotId) -> Option<SlotId> {
        read(&self.claims.join(job.as_str())).map(|entry| entry.slot)
    }

    /// Every warm container.
    pub(crate) fn all_parked(&self) -> io::Result<Vec<Entry>> {
        Ok(entries(&self.parked)?.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Every claimed container, with the slot of its job.
    pub(crate) fn all_claims(&self) -> io::Result<BTreeMap<SlotId, SlotId>> {
        Ok(entries(&self.claims)?.into_iter().map(|(job, entry)| (entry.slot, job)).collect())
    }

    /// Removes the warm container of `slot`.
    pub(crate) fn forget(&self, slot: &SlotId) {
        remove(&self.parked.join(slot.as_str()));
    }

    /// Removes the claim of `job`.
    pub(crate) fn release(&self, job: &SlotId) {
        remove(&self.claims.join(job.as_str()));
    }
}

/// The readable entries of `directory`, with the slots that they are named after.
fn entries(directory: &Path) -> io::Result<Vec<(SlotId, Entry)>> {
    let files = fs::read_dir(directory)?.flatten();
    // a file that is gone meanwhile, or half written, is left out
    Ok(files
        .filter_map(|file| Some((file.file_name().to_str()?.parse().ok()?, read(&file.path())?)))
        .collect())
}

fn read(path: &Path) -> Option<Entry> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(
            |error| warn!(path = %path.display(), %error, "cannot read an entry of the pool's ledger"),
        )
        .ok()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "cannot remove an entry of the pool's ledger");
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Network, OciRuntime};

    fn entry(slot: &str) -> Entry {
        let limits = Limits { memory_bytes: 1 << 30, cpu_quota: 100_000, pids: 64 };
        let spec = ContainerSpec {
            image: "agent:1".to_owned(),
            limits,
            network: Network::None,
            oci_runtime: OciRuntime::Engines,
        };
        Entry { slot: slot.parse().unwrap(), nonce: Nonce::new(), spec, generation: "g1".to_owned() }
    }

    #[test]
    fn a_warm_container_is_claimed_once_and_by_one_job() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path()).unwrap();
        let (one, two) = (entry("pool-1"), entry("pool-2"));
        let (job, other): (SlotId, SlotId) = ("job-1".parse().unwrap(), "job-2".parse().unwrap());
        ledger.park(&one).unwrap();
        ledger.park(&two).unwrap();
        assert_eq!(ledger.all_parked().unwrap().len(), 2);
        assert!(ledger.claim(&one.slot, &job).unwrap());
        assert!(!ledger.claim(&two.slot, &job).unwrap(), "a job has one container");
        assert!(ledger.claim(&one.slot, &other).is_err(), "and a container one job");
        assert_eq!(ledger.claimed_by(&job), Some(one.slot.clone()));
        assert_eq!(ledger.all_parked().unwrap(), [two], "the loser did no harm");

        let again = Ledger::open(directory.path()).unwrap();
        assert_eq!(again.all_claims().unwrap(), BTreeMap::from([(one.slot, job.clone())]));
        again.release(&job);
        again.release(&job);
        assert_eq!(ledger.claimed_by(&job), None);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path()).unwrap();
        fs::write(directory.path().join("parked/pool-1"), "{").unwrap();
        fs::write(directory.path().join("parked/pool-2.half"), "").unwrap();
        assert_eq!(ledger.all_parked().unwrap(), []);
    }
}
