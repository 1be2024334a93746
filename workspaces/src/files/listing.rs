//! Pages of a directory tree, in bounded memory however large the tree is.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, RawDir, SeekFrom, Stat};

use crate::confinement::beneath;
use crate::error::FileError;
use crate::files::entry::{Entry, EntryKind, Listing, modified};
use crate::files::etag::ETag;
use crate::files::staged::is_temporary;
use crate::name::{on_disk, text_of};
use crate::path::{MAX_PATH, WorkspacePath, check_name};

/// Which entries to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The directory; `None` is the workspace itself.
    pub dir: Option<WorkspacePath>,
    /// How many levels below it: 1 lists its own entries only. At most [`ListQuery::MAX_DEPTH`].
    pub depth: usize,
    /// Only entries after this path ([`Listing::next`] of the previous page).
    pub after: Option<WorkspacePath>,
    /// How many entries, 1 to [`ListQuery::MAX_LIMIT`].
    pub limit: usize,
}

impl ListQuery {
    /// The most levels of one list.
    pub const MAX_DEPTH: usize = 32;
    /// The most entries on a page.
    pub const MAX_LIMIT: usize = 1000;
}

impl Default for ListQuery {
    fn default() -> Self {
        Self { dir: None, depth: 1, after: None, limit: Self::MAX_LIMIT }
    }
}

/// Reads one page; blocking. Links are listed and never followed. A path that is longer than a [`WorkspacePath`] may
/// be is left out.
pub(crate) fn page(root: impl AsFd, query: &ListQuery) -> Result<Listing, FileError> {
    let dir = query.dir.as_ref().map_or(OsStr::new(".").into(), WorkspacePath::on_disk);
    let prefix = query.dir.as_ref().map_or(String::new(), |dir| format!("{dir}/"));
    let after: Vec<&str> = match &query.after {
        Some(after) => {
            let below = after.as_str().strip_prefix(&prefix).ok_or(FileError::NotFound)?;
            below.split('/').collect()
        }
        None => Vec::new(),
    };
    let mut walk = Walk {
        depth: query.depth.clamp(1, ListQuery::MAX_DEPTH),
        limit: query.limit.clamp(1, ListQuery::MAX_LIMIT),
        entries: Vec::new(),
    };
    let more = walk.below(&beneath::open_dir(root, dir)?, &prefix, 1, &after)?;
    let next = if more { walk.entries.last().map(|entry| entry.path.clone()) } else { None };
    Ok(Listing { entries: walk.entries, next })
}

struct Walk {
    depth: usize,
    limit: usize,
    entries: Vec<Entry>,
}

impl Walk {
    /// Adds the entries below `dir` that come after the names in `after`. Whether there are more than the page holds.
    fn below(
        &mut self,
        dir: &OwnedFd,
        prefix: &str,
        level: usize,
        after: &[&str],
    ) -> Result<bool, FileError> {
        let mut from = String::new();
        if let Some((first, rest)) = after.split_first() {
            // the previous page ended with this entry, or with one below it
            if let Some(child) = self.open(dir, first, level)?
                && self.below(&child, &format!("{prefix}{first}/"), level + 1, rest)?
            {
                return Ok(true);
            }
            (*first).clone_into(&mut from);
        }
        loop {
            let room = self.limit - self.entries.len() + 1;
            let names = first_names(dir, &from, room)?;
            let all = names.len() < room;
            for name in names {
                from.clone_from(&name);
                let path = format!("{prefix}{name}");
                if on_disk(&path).len() > MAX_PATH {
                    continue;
                }
                let Some(stat) = beneath::status(dir, on_disk(&name))? else { continue };
                if self.entries.len() == self.limit {
                    return Ok(true);
                }
                let below = format!("{path}/");
                self.entries.push(entry(path, name, &stat));
                if beneath::kind(&stat) == FileType::Directory
                    && let Some(child) = self.open(dir, &from, level)?
                    && self.below(&child, &below, level + 1, &[])?
                {
                    return Ok(true);
                }
            }
            if all {
                return Ok(false);
            }
        }
    }

    /// Opens a directory to list it, if it still is one, may be read and is not too deep.
    fn open(&self, dir: &OwnedFd, name: &str, level: usize) -> Result<Option<OwnedFd>, FileError> {
        if level >= self.depth {
            return Ok(None);
        }
        match beneath::open_child(dir, on_disk(name)) {
            Ok(child) => Ok(Some(child)),
            Err(FileError::NotFound | FileError::NotDirectory | FileError::Escape) => Ok(None),
            Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Bytes of directory entries that one system call reads.
const READ_BYTES: usize = 64 * 1024;

/// The first `count` names after `from`, sorted. Never keeps more than `count` names in memory.
fn first_names(dir: &OwnedFd, from: &str, count: usize) -> Result<Vec<String>, FileError> {
    let mut names = BinaryHeap::with_capacity(count + 1);
    let mut buffer = Vec::with_capacity(READ_BYTES);
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = &*text_of(entry.file_name().to_bytes());
        let late = names.len() == count && names.peek().is_some_and(|last: &String| name >= last.as_str());
        if name <= from || late || check_name(name).is_err() || is_temporary(name) {
            continue;
        }
        names.push(name.to_owned());
        if names.len() > count {
            names.pop();
        }
    }
    Ok(names.into_sorted_vec())
}

fn entry(path: String, name: String, stat: &Stat) -> Entry {
    let kind = match beneath::kind(stat) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => EntryKind::Other,
    };
    let is_file = kind == EntryKind::File;
    Entry {
        path,
        name,
        kind,
        size: if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        modified: modified(stat),
        etag: is_file.then(|| ETag::of(stat)),
    }
}
