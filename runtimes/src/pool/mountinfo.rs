//! `/proc/PID/mountinfo` (proc(5)): what is mounted where, as far as the pool has to know.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// Where.
    pub(crate) at: PathBuf,
    /// The part of the file system that is mounted.
    pub(crate) root: PathBuf,
    /// The peers that share their mounts with it.
    pub(crate) shared: Option<u64>,
    /// The peers whose mounts appear in it.
    pub(crate) master: Option<u64>,
    /// `ext4`, `cgroup2`, ….
    pub(crate) kind: String,
    /// Options of the file system, as a list with commas.
    pub(crate) options: String,
}

/// The mounts that `process` sees, in the order in which they were made; without one: this process.
pub(crate) fn mounts(process: Option<Pid>) -> io::Result<Vec<MountPoint>> {
    let who = process.map_or_else(|| "self".to_owned(), |pid| pid.as_raw_nonzero().to_string());
    let text = fs::read_to_string(format!("/proc/{who}/mountinfo"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// What is mounted at `path`: the last one, which covers those before it.
pub(crate) fn at<'a>(mounts: &'a [MountPoint], path: &Path) -> Option<&'a MountPoint> {
    mounts.iter().rfind(|mount| mount.at == path)
}

fn parse(line: &str) -> Option<MountPoint> {
    let (place, source) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, at) = (place.next()?, place.next()?);
    let (mut shared, mut master) = (None, None);
    for tag in place.skip(1) {
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

/// Blanks, tabs, line ends and backslashes of a path are written as three octal digits.
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
    fn a_line_says_where_and_with_whom() {
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
    fn our_own_mounts_can_be_read() {
        let mounts = mounts(None).unwrap();
        assert!(at(&mounts, Path::new("/proc")).is_some_and(|mount| mount.kind == "proc"));
    }
}
