//! Changes the limits of a running container in its control group, without its engine.
//!
//! cgroup v1 and v2 (kernel documentation, `admin-guide/cgroup-v1` and `admin-guide/cgroup-v2.rst`). There is no swap
//! beyond the memory in either: v1 limits the sum of both, v2 the swap, which the engine has set to none.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::Pid;

use super::mountinfo::{MountPoint, mounts};
use crate::Limits;

/// The period of [`Limits::cpu_quota`], in microseconds.
const CPU_PERIOD_US: u32 = 100_000;

/// The control group of one container, whose limits this process may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// A directory in each hierarchy.
    V1 {
        /// Where memory is limited.
        memory: PathBuf,
        /// Where processor time is limited.
        cpu: PathBuf,
        /// Where processes are limited.
        pids: PathBuf,
    },
    /// One directory.
    V2(PathBuf),
}

/// The memory that the container of `process` uses, in bytes: its processes, its page cache, and the kernel's memory for
/// it. `None` if its control group is not found.
pub fn memory_of(process: Pid) -> Option<u64> {
    Cgroup::of(process)?.used().ok()
}

impl Cgroup {
    /// The group of `process`, if this process may write every limit of it.
    pub(crate) fn of(process: Pid) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.as_raw_nonzero())).ok()?;
        let group = Self::find(&groups, &mounts(None).ok()?)?;
        group.files().iter().all(|file| access(file, Access::WRITE_OK).is_ok()).then_some(group)
    }

    /// The group that `/proc/PID/cgroup` names, below these mounts.
    fn find(groups: &str, mounts: &[MountPoint]) -> Option<Self> {
        let v1 = |controller| {
            let path = groups.lines().find_map(|line| {
                let (names, path) = fields(line)?;
                names.split(',').any(|name| name == controller).then_some(path)
            })?;
            let mount = mounts.iter().find(|mount| {
                mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller)
            })?;
            below(mount, path)
        };
        if let (Some(memory), Some(cpu), Some(pids)) = (v1("memory"), v1("cpu"), v1("pids")) {
            return Some(Self::V1 { memory, cpu, pids });
        }
        let path = groups.lines().find_map(|line| {
            let (names, path) = fields(line)?;
            names.is_empty().then_some(path)
        })?;
        below(mounts.iter().find(|mount| mount.kind == "cgroup2")?, path).map(Self::V2)
    }

    /// Sets `limits` in the place of `before`.
    ///
    /// # Errors
    /// The kernel refuses one of them; those before it have been set.
    pub(crate) fn set(&self, before: &Limits, limits: &Limits) -> io::Result<()> {
        match self {
            Self::V1 { memory, cpu, pids } => {
                let mut order =
                    [memory.join("memory.memsw.limit_in_bytes"), memory.join("memory.limit_in_bytes")];
                if limits.memory_bytes < before.memory_bytes {
                    // the sum of memory and swap is never less than the memory
                    order.reverse();
                }
                for file in order.iter().filter(|file| file.exists()) {
                    write(file, limits.memory_bytes)?;
                }
                write(&cpu.join("cpu.cfs_quota_us"), limits.cpu_quota)?;
                write(&pids.join("pids.max"), limits.pids)
            }
            Self::V2(group) => {
                write(&group.join("memory.max"), limits.memory_bytes)?;
                write(&group.join("cpu.max"), format_args!("{} {CPU_PERIOD_US}", limits.cpu_quota))?;
                write(&group.join("pids.max"), limits.pids)
            }
        }
    }

    fn used(&self) -> io::Result<u64> {
        let file = match self {
            Self::V1 { memory, .. } => memory.join("memory.usage_in_bytes"),
            Self::V2(group) => group.join("memory.current"),
        };
        fs::read_to_string(file)?.trim().parse().map_err(io::Error::other)
    }

    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::V1 { memory, cpu, pids } => {
                vec![
                    memory.join("memory.limit_in_bytes"),
                    cpu.join("cpu.cfs_quota_us"),
                    pids.join("pids.max"),
                ]
            }
            Self::V2(group) => ["memory.max", "cpu.max", "pids.max"].map(|file| group.join(file)).into(),
        }
    }
}

/// Controllers and path in a line of `/proc/PID/cgroup`: `4:memory:/path`, or `0::/path` for v2.
fn fields(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

/// The directory of the group `path`, if it is below `mount`.
fn below(mount: &MountPoint, path: &str) -> Option<PathBuf> {
    Some(mount.at.join(Path::new(path).strip_prefix(&mount.root).ok()?))
}

fn write(file: &Path, value: impl std::fmt::Display) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(at: &str, root: &str, kind: &str, options: &str) -> MountPoint {
        let (shared, master) = (None, None);
        let (kind, options) = (kind.to_owned(), options.to_owned());
        MountPoint { at: at.into(), root: root.into(), shared, master, kind, options }
    }

    #[test]
    fn a_group_is_found_in_every_layout() {
        let hybrid = [
            mount("/sys/fs/cgroup/cpu,cpuacct", "/", "cgroup", "rw,cpu,cpuacct"),
            mount("/sys/fs/cgroup/memory", "/", "cgroup", "rw,memory"),
            mount("/sys/fs/cgroup/pids", "/", "cgroup", "rw,pids"),
            mount("/sys/fs/cgroup/unified", "/", "cgroup2", "rw"),
        ];
        let groups = "5:pids:/docker/c1\n4:memory:/docker/c1\n2:cpu,cpuacct:/docker/c1\n0::/docker/c1";
        let found = Cgroup::find(groups, &hybrid);
        let Some(Cgroup::V1 { memory, cpu, pids }) = found else { panic!("{found:?}") };
        assert_eq!(memory, Path::new("/sys/fs/cgroup/memory/docker/c1"));
        assert_eq!(cpu, Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/c1"));
        assert_eq!(pids, Path::new("/sys/fs/cgroup/pids/docker/c1"));

        let unified = [mount("/sys/fs/cgroup", "/", "cgroup2", "rw,nsdelegate")];
        let scope = "0::/system.slice/docker-c1.scope";
        let found = Cgroup::find(scope, &unified);
        assert_eq!(found, Some(Cgroup::V2("/sys/fs/cgroup/system.slice/docker-c1.scope".into())));

        let inside = [mount("/sys/fs/cgroup", "/system.slice/mgx.service", "cgroup2", "rw")];
        assert_eq!(Cgroup::find(scope, &inside), None, "it is not below the mount");
    }

    #[test]
    fn limits_are_written_in_an_order_that_the_kernel_takes() {
        let directory = tempfile::tempdir().unwrap();
        let group = Cgroup::V2(directory.path().to_owned());
        for file in group.files() {
            fs::write(file, "").unwrap();
        }
        let limits = |memory_bytes| Limits { memory_bytes, cpu_quota: 50_000, pids: 64 };
        group.set(&limits(1), &limits(2)).unwrap();
        let read = |file| fs::read_to_string(directory.path().join(file)).unwrap();
        assert_eq!(
            (read("memory.max"), read("cpu.max"), read("pids.max")),
            ("2".into(), "50000 100000".into(), "64".into())
        );
        fs::write(directory.path().join("memory.current"), "1048576\n").unwrap();
        assert_eq!(group.used().unwrap(), 1 << 20);
    }
}
