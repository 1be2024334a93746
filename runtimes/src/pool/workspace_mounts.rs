//! Mounts workspaces into running containers.
//!
//! Every container of the pool has a mount point: an empty directory below a shared mount (`MS_SHARED`), which is mounted at
//! the container's `/workspace` as a slave (`mount_namespaces(7)`). A workspace that the host mounts over the mount point
//! appears in the container at once. That needs root, and an engine in the same mount namespace as the platform.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use mgx_protocol::{DirectoryId, SlotId, WORKSPACE_DIR};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::process::Pid;
use tracing::warn;

use super::mountinfo::{at, mounts};

/// The mount points of one instance of the platform.
#[derive(Debug)]
pub(crate) struct WorkspaceMounts {
    root: PathBuf,
    /// The peer group of the root.
    group: u64,
}

impl WorkspaceMounts {
    /// Mount points below `root`, which is made a shared mount if it is none.
    ///
    /// # Errors
    /// This process may not mount, or the kernel cannot share mounts.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let group = || Ok::<_, io::Error>(at(&mounts(None)?, &root).and_then(|mount| mount.shared));
        if let Some(group) = group()? {
            return Ok(Self { root, group });
        }
        mount_bind(&root, &root)?;
        // the mount around `root` may be shared, and must not show these: a peer group of its own
        mount_change(&root, MountPropagationFlags::PRIVATE)?;
        mount_change(&root, MountPropagationFlags::SHARED)?;
        match group()? {
            Some(group) => Ok(Self { root, group }),
            None => Err(io::Error::other("the kernel has not shared the mount")),
        }
    }

    /// Makes the mount point of `slot`, to be mounted into its container.
    pub(crate) fn make_mount_point(&self, slot: &SlotId) -> io::Result<PathBuf> {
        let mount_point = self.mount_point(slot);
        fs::create_dir_all(&mount_point)?;
        Ok(mount_point)
    }

    /// Whether a mount over its mount point appears in the container whose first process is `runner`.
    pub(crate) fn are_seen_by(&self, runner: Option<Pid>) -> bool {
        let Some(runner) = runner else { return false };
        let its_mounts = mounts(Some(runner)).unwrap_or_default();
        at(&its_mounts, Path::new(WORKSPACE_DIR)).is_some_and(|mount| mount.master == Some(self.group))
    }

    /// Mounts `workspace` over the mount point of `slot`; the directory that the container has to see now.
    pub(crate) fn mount(&self, slot: &SlotId, workspace: &Path) -> io::Result<DirectoryId> {
        // opened before it is mounted, so that its path cannot be replaced in between
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(workspace, flags, Mode::empty())?;
        let found = rustix::fs::fstat(&directory)?;
        mount_bind(format!("/proc/self/fd/{}", directory.as_raw_fd()), self.mount_point(slot))?;
        Ok(DirectoryId { dev: found.st_dev, ino: found.st_ino })
    }

    /// Unmounts everything from the mount point of `slot`, and removes it.
    pub(crate) fn clear(&self, slot: &SlotId) {
        let mount_point = self.mount_point(slot);
        // until nothing is mounted there; a container that uses the mount keeps it
        while unmount(&mount_point, UnmountFlags::DETACH).is_ok() {}
        match fs::remove_dir(&mount_point) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(path = %mount_point.display(), %error, "cannot remove a mount point");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Every slot that has a mount point.
    pub(crate) fn all(&self) -> io::Result<Vec<SlotId>> {
        Ok(fs::read_dir(&self.root)?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// Unmounts the shared mount. Containers keep their mounts.
    pub(crate) fn close(&self) {
        while unmount(&self.root, UnmountFlags::DETACH).is_ok() {}
    }

    fn mount_point(&self, slot: &SlotId) -> PathBuf {
        self.root.join(slot.as_str())
    }
}
