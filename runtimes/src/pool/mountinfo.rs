//! Parses `/proc/PID/mountinfo` (proc(5)), as far as the pool needs it.
//!
//! The crate `procfs` reads it too. It is not used, because it would add two crates for these lines and builds two hash
//! maps of options for each mount.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// The mount point.
    pub(crate) at: PathBuf,
    /// The directory of the file system that is mounted.
    pub(crate) root: PathBuf,
    /// Its peer group, if it is shared.
    pub(crate) shared: Option<u64>,
    /// The peer group whose mounts appear in it, if it is a slave.
    pub(crate) master: Option<u64>,
    /// The file system: `ext4`, `cgroup2`, ….
    pub(crate) kind: String,
    /// The options of the file system, separated by commas.
    pub(crate) options: String,
}

/// The mounts of `process`, or of this process, in the order in which they were made.
pub(crate) fn mounts(process: Option<Pid>) -> io::Result<Vec<MountPoint>> {
    let who = process.map_or_else(|| "self".to_owned(), |pid| pid.as_raw_nonzero().to_string());
    let text = fs::read_to_string(format!("/proc/{who}/mountinfo"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// The mount at `path`: the last one, which covers those before it.
pub(crate) fn at<'a>(mounts: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    mounts.iter().rfind(|mount| mount.at == path)
}

fn parse(line: &str) -> Option<MountPoint> {
    let (mount, source) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, at) = (mount.next()?, mount.next()?);
    let (mut shared, mut master) = (None, None);
    for tag in mount.skip(1) {
        match tag.split_once(':') {
            Some(("shared", group)) => shared = group.parse().ok(),
            Some(("master", group)) => master = group.parse().ok(),
            Some(_) | None => {}
        }
    }
    let mut source = source.split(' ');
    let (kind, options) = (source.next()?.to_owned(), source.nth(1)?.to_owned());
    Some(MountPoint { at: unescaped(at), root: unescaped(root), shared, master, kind, options })
}

/// `path` without its octal escapes, by which spaces, tabs, line feeds and backslashes are written.
fn unescaped(path: &str) -> PathBuf {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[3..]);
            }
            None => plain.push_str(part),
        }
    }
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_mount_point_and_its_peer_groups() {
        let line =
            r"61 27 254:0 /data/a\040b /srv/a\040b rw,relatime shared:7 master:3 - ext4 /dev/vda rw,discard";
        let mount = parse(line).unwrap();
        assert_eq!((mount.at, mount.root), (PathBuf::from("/srv/a b"), PathBuf::from("/data/a b")));
        assert_eq!((mount.shared, mount.master), (Some(7), Some(3)));
        assert_eq!((mount.kind.as_str(), mount.options.as_str()), ("ext4", "rw,discard"));
        let private = parse("22 27 0:21 / /proc rw,relatime - proc proc rw").unwrap();
        assert_eq!((private.shared, private.master), (None, None));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn the_mounts_of_this_process_can_be_read() {
        let mounts = mounts(None).unwrap();
        assert!(at(&mounts, Path::new("/proc")).is_some_and(|mount| mount.kind == "proc"));
    }
}
