//! What waits and who has claimed it, in files: the next life of the platform reads them.
//!
//! `parked/SLOT` describes a container that waits. A claim moves it to `claims/JOB'S SLOT`: one rename, which the
//! file system lets only one do, so a container is at every moment one or the other. Entries are written for a
//! process that may be killed, not for a machine that loses power: that ends every container too.

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

/// A container that waits, or waited until it was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its slot: what the runtime below knows it by.
    pub(crate) slot: SlotId,
    /// What its runner is claimed with.
    pub(crate) nonce: Nonce,
    /// What it is made of.
    pub(crate) spec: ContainerSpec,
    /// Which build of the image it was made from.
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

    /// Writes down that a container waits.
    pub(crate) fn park(&self, entry: &Entry) -> io::Result<()> {
        let path = self.parked.join(entry.slot.as_str());
        let half = path.with_extension("half");
        fs::write(&half, serde_json::to_vec(entry)?)?;
        fs::rename(half, path)
    }

    /// Gives the container that waits in `slot` to `job`. False: that one has a container already.
    pub(crate) fn claim(&self, slot: &SlotId, job: &SlotId) -> io::Result<bool> {
        let (from, to) = (self.parked.join(slot.as_str()), self.claims.join(job.as_str()));
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The container that `job` has claimed, if it has.
    pub(crate) fn claimed_by(&self, job: &SlotId) -> Option<SlotId> {
        read(&self.claims.join(job.as_str())).map(|entry| entry.slot)
    }

    /// Every container that waits.
    pub(crate) fn all_parked(&self) -> io::Result<Vec<Entry>> {
        Ok(entries(&self.parked)?.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Every container that was claimed, and by whom.
    pub(crate) fn all_claims(&self) -> io::Result<BTreeMap<SlotId, SlotId>> {
        Ok(entries(&self.claims)?.into_iter().map(|(job, entry)| (entry.slot, job)).collect())
    }

    /// The container of `slot` does not wait any more.
    pub(crate) fn forget(&self, slot: &SlotId) {
        remove(&self.parked.join(slot.as_str()));
    }

    /// What `job` had claimed is gone.
    pub(crate) fn release(&self, job: &SlotId) {
        remove(&self.claims.join(job.as_str()));
    }
}

/// What can be read in `directory`, by the slot that each is named after.
fn entries(directory: &Path) -> io::Result<Vec<(SlotId, Entry)>> {
    let files = fs::read_dir(directory)?.flatten();
    // one that vanishes meanwhile is not there; one half written is no slot's
    Ok(files
        .filter_map(|file| Some((file.file_name().to_str()?.parse().ok()?, read(&file.path())?)))
        .collect())
}

fn read(path: &Path) -> Option<Entry> {
    let text = fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| warn!(path = %path.display(), %error, "cannot be read"))
        .ok()
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "cannot be removed");
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
    fn what_waits_is_claimed_once_and_by_one() {
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
    fn what_cannot_be_read_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path()).unwrap();
        fs::write(directory.path().join("parked/pool-1"), "{").unwrap();
        fs::write(directory.path().join("parked/pool-2.half"), "").unwrap();
        assert_eq!(ledger.all_parked().unwrap(), []);
    }
}
