//! Where workspaces are mounted into containers that run already.
//!
//! Every container of the pool has a seat: an empty directory below one mount that the kernel shares (`MS_SHARED`),
//! mounted at the container's `/workspace` as a slave of it (`mount_namespaces(7)`). A workspace that the host mounts
//! over the seat appears there at once. That takes root, and an engine in the same mount namespace as the platform.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use mgx_protocol::SlotId;
use mgx_protocol::{DirectoryId, WORKSPACE_DIR};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::process::Pid;
use tracing::warn;

use super::mountinfo::{at, mounts};

/// The seats of one instance of the platform.
#[derive(Debug)]
pub(crate) struct Seats {
    root: PathBuf,
    /// The peer group of the root.
    group: u64,
}

impl Seats {
    /// Seats below `root`, which becomes a shared mount if it is none.
    ///
    /// # Errors
    /// We may not mount, or the kernel cannot share mounts.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let group = || Ok::<_, io::Error>(at(&mounts(None)?, &root).and_then(|mount| mount.shared));
        if let Some(group) = group()? {
            return Ok(Self { root, group });
        }
        mount_bind(&root, &root)?;
        // the mount around it may be shared too, and must not see ours: peers of its own
        mount_change(&root, MountPropagationFlags::PRIVATE)?;
        mount_change(&root, MountPropagationFlags::SHARED)?;
        match group()? {
            Some(group) => Ok(Self { root, group }),
            None => Err(io::Error::other("the kernel has not shared the mount")),
        }
    }

    /// An empty seat for `slot`, to be mounted into its container.
    pub(crate) fn make(&self, slot: &SlotId) -> io::Result<PathBuf> {
        let seat = self.of(slot);
        fs::create_dir_all(&seat)?;
        Ok(seat)
    }

    /// Whether what is mounted over its seat appears in the container whose first process is `runner`.
    pub(crate) fn reach(&self, runner: Option<Pid>) -> bool {
        let Some(runner) = runner else { return false };
        let seen = mounts(Some(runner)).unwrap_or_default();
        at(&seen, Path::new(WORKSPACE_DIR)).is_some_and(|mount| mount.master == Some(self.group))
    }

    /// Mounts `workspace` over the seat of `slot`; which directory the container has to see now.
    pub(crate) fn seat(&self, slot: &SlotId, workspace: &Path) -> io::Result<DirectoryId> {
        // held while it is mounted, so that nobody can put another one in its place
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(workspace, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&directory)?;
        mount_bind(format!("/proc/self/fd/{}", directory.as_raw_fd()), self.of(slot))?;
        Ok(DirectoryId { dev: found.st_dev, ino: found.st_ino })
    }

    /// Takes everything off the seat of `slot`, and removes it.
    pub(crate) fn clear(&self, slot: &SlotId) {
        let seat = self.of(slot);
        // until nothing is mounted there; a container that still looks at it keeps what it sees
        while unmount(&seat, UnmountFlags::DETACH).is_ok() {}
        match fs::remove_dir(&seat) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(seat = %seat.display(), %error, "cannot be removed");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Every slot that has a seat.
    pub(crate) fn all(&self) -> io::Result<Vec<SlotId>> {
        Ok(fs::read_dir(&self.root)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// Ends the sharing. Containers keep what they see.
    pub(crate) fn close(&self) {
        while unmount(&self.root, UnmountFlags::DETACH).is_ok() {}
    }

    fn of(&self, slot: &SlotId) -> PathBuf {
        self.root.join(slot.as_str())
    }
}
