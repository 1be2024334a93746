//! Counts the processes of this container that the kernel has killed for want of memory, from its control group.
//!
//! cgroup v1 and hybrid count in `memory.oom_control`, v2 in `memory.events`; both on a line `oom_kill N`
//! (kernel documentation, `admin-guide/cgroup-v1/memory.rst` and `admin-guide/cgroup-v2.rst`).

use std::fs;
use std::path::PathBuf;

/// The count since the container was made; 0 if there is no such counter.
pub(crate) fn kills() -> u64 {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    counters(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"))
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find_map(|counter| oom_kill(&counter))
        .unwrap_or(0)
}

/// The files in which the counter may be, the likeliest first.
///
/// The cgroup's path is relative to the root of the hierarchy, of which a mount may show only a part: inside a
/// container without a cgroup namespace of its own the path is the host's, and the mount's root is the same.
fn counters(cgroups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (kind, file) in [("cgroup", "memory.oom_control"), ("cgroup2", "memory.events")] {
        let Some(own) = cgroups.lines().find_map(|line| own_path(line, kind)) else { continue };
        for (root, at) in mounts.lines().filter_map(|line| mount(line, kind)) {
            let below = own.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
            found.push(PathBuf::from(format!("{at}/{}", below.trim_start_matches('/'))).join(file));
            found.push(PathBuf::from(at).join(file));
        }
    }
    found
}

/// The path in a line of `/proc/self/cgroup`: `4:memory:/path`, or `0::/path` for v2.
fn own_path<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    match kind {
        "cgroup" => controllers.split(',').any(|controller| controller == "memory").then_some(path),
        _ => controllers.is_empty().then_some(path),
    }
}

/// Root and mount point in a line of `/proc/self/mountinfo` (proc(5)) that mounts the memory controller.
fn mount<'a>(line: &'a str, kind: &str) -> Option<(&'a str, &'a str)> {
    let (place, filesystem) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, at) = (place.next()?, place.next()?);
    let mut filesystem = filesystem.split(' ');
    let (found, options) = (filesystem.next()?, filesystem.nth(1)?);
    let ours = found == kind && (kind == "cgroup2" || options.split(',').any(|option| option == "memory"));
    ours.then_some((root, at))
}

fn oom_kill(counter: &str) -> Option<u64> {
    counter.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(cgroups: &str, mounts: &str) -> Option<String> {
        counters(cgroups, mounts).first().map(|path| path.display().to_string())
    }

    #[test]
    fn the_counter_is_found_on_every_kind_of_host() {
        let hybrid = "4:memory:/docker/c1\n1:name=systemd:/docker/c1\n0::/docker/c1";
        let in_docker =
            "30 25 0:26 /docker/c1 /sys/fs/cgroup/memory ro,nosuid master:9 - cgroup cgroup rw,memory";
        let on_host = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                       31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        let v2 = "40 39 0:29 / /sys/fs/cgroup ro - cgroup2 cgroup rw";
        assert_eq!(first(hybrid, in_docker).unwrap(), "/sys/fs/cgroup/memory/memory.oom_control");
        assert_eq!(first(hybrid, on_host).unwrap(), "/sys/fs/cgroup/memory/docker/c1/memory.oom_control");
        assert_eq!(first("0::/", v2).unwrap(), "/sys/fs/cgroup/memory.events");
        assert_eq!(first("0::/user/a", v2).unwrap(), "/sys/fs/cgroup/user/a/memory.events");
        assert_eq!(first("", ""), None);
    }

    #[test]
    fn both_forms_of_the_counter_are_read() {
        assert_eq!(oom_kill("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(oom_kill("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(oom_kill("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
