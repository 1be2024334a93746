//! The files of the workspace, and nothing beyond them: no path and no symbolic link leads out.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use mgx_protocol::WORKSPACE_DIR;
use rustix::fs::OFlags;
use uuid::Uuid;

use super::tools::Outcome;

/// The largest file that is read or written, in bytes.
pub(crate) const FILE: usize = 1024 * 1024;

/// How much of a file one call returns, in bytes.
const PART: usize = 32 * 1024;

/// How many files one call lists.
const ENTRIES: usize = 500;

/// How deep directories are searched.
const DEPTH: usize = 32;

/// Directories that hold what tools made, not what people or agents wrote.
const LEFT_OUT: [&str; 9] =
    [".git", ".next", ".venv", "__pycache__", "build", "dist", "node_modules", "target", ".mgx"];

/// The permissions of a file that is written.
const MODE: u32 = 0o644;

/// A workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: Dir,
}

impl Workspace {
    /// The workspace in `directory`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        Ok(Self { root: Dir::open_ambient_dir(directory, ambient_authority())? })
    }

    /// The files below `path`, one on each line.
    pub(crate) fn list(&self, path: &str) -> Outcome {
        let mut lines = Vec::new();
        let complete = self.walk(path, &mut |path, size| {
            lines.push(format!("{} ({size} bytes)", path.display()));
            lines.len() < ENTRIES
        })?;
        if lines.is_empty() {
            return Ok("there are no files".into());
        }
        if !complete {
            lines.push(format!("… only the first {ENTRIES} files are listed; name a directory to see more"));
        }
        Ok(lines.join("\n"))
    }

    /// At most `count` lines of a file from line `first` on.
    pub(crate) fn read(&self, path: &str, first: usize, count: Option<usize>) -> Outcome {
        let text = self.text(path)?;
        let total = text.lines().count();
        let skipped = first.max(1) - 1;
        let mut part = String::new();
        let mut shown = 0;
        for line in text.split_inclusive('\n').skip(skipped).take(count.unwrap_or(usize::MAX)) {
            if part.len() + line.len() > PART {
                if shown == 0 {
                    part.push_str(&line[..line.floor_char_boundary(PART)]);
                    part.push_str("… (the rest of this line is left out)\n");
                    shown = 1;
                }
                break;
            }
            part.push_str(line);
            shown += 1;
        }
        if shown == 0 && skipped > 0 {
            return Err(format!("{path} has only {total} lines"));
        }
        if skipped + shown < total {
            // a String takes every write
            write!(part, "… (lines {first} to {} of {total})", skipped + shown).ok();
        }
        Ok(part)
    }

    /// Writes a whole file: it is the old one or the new one, never half of either.
    pub(crate) fn write(&self, path: &str, content: &str) -> Outcome {
        if content.len() > FILE {
            return Err(format!("the content has {} bytes; a file may have {FILE}", content.len()));
        }
        let relative = file(path)?;
        let directory = relative.parent().unwrap_or(Path::new(""));
        if !directory.as_os_str().is_empty() {
            self.root.create_dir_all(directory).map_err(|error| failed(path, &error))?;
        }
        let temporary = directory.join(format!(".mgx-{}.tmp", Uuid::now_v7().as_simple()));
        let written = self.replace(&temporary, &relative, content);
        if written.is_err() {
            // it may not even have been made
            self.root.remove_file(&temporary).ok();
        }
        written.map_err(|error| failed(path, &error))?;
        Ok(format!("wrote {} bytes to {}", content.len(), relative.display()))
    }

    /// Replaces the one occurrence of `old`.
    pub(crate) fn edit(&self, path: &str, old: &str, new: &str) -> Outcome {
        if old.is_empty() {
            return Err("the old passage is empty; use write_file to write a whole file".into());
        }
        let text = self.text(path)?;
        match text.matches(old).count() {
            0 => Err(format!("the old passage does not occur in {path}; read the file again")),
            1 => self.write(path, &text.replacen(old, new, 1)),
            count => Err(format!("the old passage occurs {count} times in {path}; add context to it")),
        }
    }

    /// Deletes a file or an empty directory.
    pub(crate) fn delete(&self, path: &str) -> Outcome {
        let relative = file(path)?;
        let metadata = self.root.symlink_metadata(&relative).map_err(|error| failed(path, &error))?;
        let deleted = if metadata.is_dir() {
            self.root.remove_dir(&relative)
        } else {
            self.root.remove_file(&relative)
        };
        deleted.map_err(|error| failed(path, &error))?;
        Ok(format!("deleted {}", relative.display()))
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Outcome {
        let mut options = OpenOptions::new();
        // a named pipe must not make us wait for somebody to write into it
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = self.root.open_with(file(path)?, &options).map_err(|error| failed(path, &error))?;
        let metadata = file.metadata().map_err(|error| failed(path, &error))?;
        if !metadata.is_file() {
            return Err(format!("{path} is not a file"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(FILE).unwrap_or(u64::MAX) + 1;
        file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
        if bytes.len() > FILE {
            return Err(format!("{path} has more than {FILE} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| format!("{path} is not a text file"))
    }

    /// Calls `visit` with path and size of every file below `path`, in order, until it says false. Whether it
    /// never did. Symbolic links are not followed.
    pub(crate) fn walk(&self, path: &str, visit: &mut dyn FnMut(&Path, u64) -> bool) -> Result<bool, String> {
        let relative = relative(path)?;
        let start = if relative.as_os_str().is_empty() { Path::new(".") } else { &relative };
        let directory = self.root.open_dir(start).map_err(|error| failed(path, &error))?;
        walk(&directory, &relative, 0, visit).map_err(|error| failed(path, &error))
    }

    fn replace(&self, temporary: &Path, path: &Path, content: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        self.root.open_with(temporary, &options)?.write_all(content.as_bytes())?;
        self.root.rename(temporary, &self.root, path)
    }
}

fn walk(
    directory: &Dir,
    path: &Path,
    depth: usize,
    visit: &mut dyn FnMut(&Path, u64) -> bool,
) -> io::Result<bool> {
    let mut entries = directory.entries()?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(cap_std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = path.join(&name);
        // whoever vanishes between two looks is not listed
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            if !visit(&path, metadata.len()) {
                return Ok(false);
            }
        } else if metadata.is_dir() && depth < DEPTH && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
            let Ok(below) = directory.open_dir(&name) else { continue };
            if !walk(&below, &path, depth + 1, visit)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The file that `path` names, relative to the workspace.
fn file(path: &str) -> Result<PathBuf, String> {
    let relative = relative(path)?;
    if relative.file_name().is_some() { Ok(relative) } else { Err(format!("{path:?} names no file")) }
}

/// `path` relative to the workspace; models also write it as they see it in the container.
fn relative(path: &str) -> Result<PathBuf, String> {
    let given = Path::new(path);
    let inside = given.strip_prefix(WORKSPACE_DIR).unwrap_or(given);
    let mut relative = PathBuf::new();
    for component in inside.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(format!("{path} is not inside the workspace; paths are relative to it"));
            }
        }
    }
    Ok(relative)
}

fn failed(path: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{path} does not exist"),
        io::ErrorKind::IsADirectory => format!("{path} is a directory"),
        io::ErrorKind::NotADirectory => format!("{path}: a part of it is not a directory"),
        io::ErrorKind::DirectoryNotEmpty => format!("{path} is not empty"),
        _ => format!("{path}: {error}"),
    }
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
