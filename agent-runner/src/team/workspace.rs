//! The files of the workspace, confined: no path and no symbolic link leads out of it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use mgx_protocol::WORKSPACE_DIR;
use rustix::fs::OFlags;
use uuid::Uuid;

/// The result of a tool: a text for the model, also if it failed.
pub(crate) type ToolResult = Result<String, String>;

/// The largest file that is read or written, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// How much of a file one call returns, in bytes.
const MAX_PART_BYTES: usize = 32 * 1024;

/// How many files one call lists.
const MAX_LISTED: usize = 500;

/// How many directories deep a listing or a search goes.
const MAX_DEPTH: usize = 32;

/// Directories whose files are made by tools; listings and searches leave them out.
const GENERATED: [&str; 9] =
    [".git", ".next", ".venv", "__pycache__", "build", "dist", "node_modules", "target", ".mgx"];

/// The permissions of a written file.
const FILE_MODE: u32 = 0o644;

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
    pub(crate) fn list(&self, path: &str) -> ToolResult {
        let mut lines = Vec::new();
        let complete = self.walk(path, &mut |path, size| {
            lines.push(format!("{} ({size} bytes)", path.display()));
            lines.len() < MAX_LISTED
        })?;
        if lines.is_empty() {
            return Ok("there are no files".into());
        }
        if !complete {
            lines.push(format!(
                "… only the first {MAX_LISTED} files are listed; name a directory to see more"
            ));
        }
        Ok(lines.join("\n"))
    }

    /// At most `count` lines of a file from line `first` on.
    pub(crate) fn read(&self, path: &str, first: usize, count: Option<usize>) -> ToolResult {
        let text = self.text(path)?;
        let total = text.lines().count();
        let skipped = first.max(1) - 1;
        let mut part = String::new();
        let mut shown = 0;
        for line in text.split_inclusive('\n').skip(skipped).take(count.unwrap_or(usize::MAX)) {
            if part.len() + line.len() > MAX_PART_BYTES {
                if shown == 0 {
                    part.push_str(&line[..line.floor_char_boundary(MAX_PART_BYTES)]);
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
            // writing into a String cannot fail
            write!(part, "… (lines {first} to {} of {total})", skipped + shown).ok();
        }
        Ok(part)
    }

    /// Writes a whole file, atomically: a reader sees the old one or the new one.
    pub(crate) fn write(&self, path: &str, content: &str) -> ToolResult {
        if content.len() > MAX_FILE_BYTES {
            return Err(format!("the content has {} bytes; a file may have {MAX_FILE_BYTES}", content.len()));
        }
        let relative = file(path)?;
        let directory = relative.parent().unwrap_or(Path::new(""));
        if !directory.as_os_str().is_empty() {
            self.root.create_dir_all(directory).map_err(|error| failed(path, &error))?;
        }
        let temporary = directory.join(format!(".mgx-{}.tmp", Uuid::now_v7().as_simple()));
        let written = self.replace(&temporary, &relative, content);
        if written.is_err() {
            // it may not exist
            self.root.remove_file(&temporary).ok();
        }
        written.map_err(|error| failed(path, &error))?;
        Ok(format!("wrote {} bytes to {}", content.len(), relative.display()))
    }

    /// Replaces the one occurrence of `old`.
    pub(crate) fn edit(&self, path: &str, old: &str, new: &str) -> ToolResult {
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
    pub(crate) fn delete(&self, path: &str) -> ToolResult {
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
    pub(crate) fn text(&self, path: &str) -> ToolResult {
        let mut options = OpenOptions::new();
        // opening a named pipe would otherwise block until a process writes into it
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = self.root.open_with(file(path)?, &options).map_err(|error| failed(path, &error))?;
        let metadata = file.metadata().map_err(|error| failed(path, &error))?;
        if !metadata.is_file() {
            return Err(format!("{path} is not a file"));
        }
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX) + 1;
        file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(format!("{path} has more than {MAX_FILE_BYTES} bytes"));
        }
        String::from_utf8(bytes).map_err(|_| format!("{path} is not a text file"))
    }

    /// Calls `visit` with path and size of every file below `path`, in order, until it returns false; whether all were
    /// visited. Symbolic links are not followed.
    pub(crate) fn walk(&self, path: &str, visit: &mut dyn FnMut(&Path, u64) -> bool) -> Result<bool, String> {
        let relative = relative(path)?;
        let start = if relative.as_os_str().is_empty() { Path::new(".") } else { &relative };
        let directory = self.root.open_dir(start).map_err(|error| failed(path, &error))?;
        walk(&directory, &relative, 0, visit).map_err(|error| failed(path, &error))
    }

    fn replace(&self, temporary: &Path, path: &Path, content: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(FILE_MODE);
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
        // a file that has been deleted meanwhile is left out
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            if !visit(&path, metadata.len()) {
                return Ok(false);
            }
        } else if metadata.is_dir()
            && depth < MAX_DEPTH
            && !GENERATED.iter().any(|generated| name == *generated)
        {
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
