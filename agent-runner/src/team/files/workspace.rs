//! The files of the workspace, confined: no path and no symbolic link leads out of it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use jiff::Timestamp;
use mgx_protocol::WORKSPACE_DIR;
use regex_lite::Regex;
use rustix::fs::OFlags;
use uuid::Uuid;

use crate::team::files::edit::{Edit, edited};

/// The result of a tool: a text for the model, also if it failed.
pub(crate) type ToolResult = Result<String, String>;

/// The largest file that is read or written, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1024 * 1024;

/// How much of a file one call returns, in bytes.
const MAX_PART_BYTES: usize = 32 * 1024;

/// How many files one call lists.
const MAX_LISTED: usize = 500;

/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;

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

    /// At most `count` lines of a file from line `first` on, each with its number.
    pub(crate) fn read(&self, path: &str, first: usize, count: Option<usize>) -> ToolResult {
        let text = self.text(path)?;
        if text.is_empty() {
            return Ok("(the file is empty)".into());
        }
        let total = text.lines().count();
        let skipped = first.max(1) - 1;
        let mut part = String::new();
        let mut shown = 0;
        for line in text.lines().skip(skipped).take(count.unwrap_or(usize::MAX)) {
            let number = skipped + shown + 1;
            if part.len() + line.len() > MAX_PART_BYTES {
                if shown == 0 {
                    let end = line.floor_char_boundary(MAX_PART_BYTES);
                    // writing into a String cannot fail
                    writeln!(part, "{number:>5}\t{}… (the rest of this line is left out)", &line[..end]).ok();
                    shown = 1;
                }
                break;
            }
            writeln!(part, "{number:>5}\t{line}").ok();
            shown += 1;
        }
        if shown == 0 && skipped > 0 {
            return Err(format!("{path} has only {total} lines"));
        }
        if skipped + shown < total {
            let (first, last) = (skipped + 1, skipped + shown);
            write!(part, "… (lines {first} to {last} of {total}; read on with first_line {})", last + 1).ok();
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

    /// Makes all of `edits` in a file, or none of them.
    pub(crate) fn edit(&self, path: &str, edits: &[Edit]) -> ToolResult {
        let text = self.text(path)?;
        let edited = edited(&text, edits).map_err(|why| format!("{path}: {why}"))?;
        if edited == text {
            return Err(format!("{path} would stay as it is: old and new are the same"));
        }
        self.write(path, &edited)
    }

    /// Renames a file or a directory.
    pub(crate) fn rename(&self, from: &str, to: &str) -> ToolResult {
        let (old, new) = (file(from)?, file(to)?);
        if self.root.symlink_metadata(&new).is_ok() {
            return Err(format!("{to} exists already"));
        }
        if let Some(directory) = new.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            self.root.create_dir_all(directory).map_err(|error| failed(to, &error))?;
        }
        self.root.rename(&old, &self.root, &new).map_err(|error| failed(from, &error))?;
        Ok(format!("renamed {} to {}", old.display(), new.display()))
    }

    /// The files whose path matches `pattern` (a glob: `*` within a directory, `**` across directories, `?`, `{a,b}`).
    pub(crate) fn find(&self, pattern: &str) -> ToolResult {
        let matches = glob(pattern)?;
        let mut lines = Vec::new();
        let complete = self.walk("", &mut |path, size| {
            if path.to_str().is_some_and(|path| matches.is_match(path)) {
                lines.push(format!("{} ({size} bytes)", path.display()));
            }
            lines.len() < MAX_LISTED
        })?;
        if lines.is_empty() {
            return Ok("no file matches".into());
        }
        if !complete {
            lines.push(format!("… only the first {MAX_LISTED} files are listed; use a narrower pattern"));
        }
        Ok(lines.join("\n"))
    }

    /// At most `max` files, one on each line, for the first message of a role; those that were changed after `since` say so.
    pub(crate) fn files(&self, max: usize, since: Option<Timestamp>) -> String {
        let mut lines = Vec::new();
        let walked = self.walk("", &mut |path, size| {
            let modified = self.root.metadata(path).and_then(|metadata| metadata.modified()).ok();
            let modified = modified.and_then(|time| Timestamp::try_from(time.into_std()).ok());
            let note = if since.zip(modified).is_some_and(|(since, modified)| modified > since) {
                ", changed by the user since the last message"
            } else {
                ""
            };
            lines.push(format!("{} ({size} bytes{note})", path.display()));
            lines.len() < max
        });
        if walked == Ok(false) {
            lines.push(format!("… only the first {max} files are listed"));
        }
        lines.join("\n")
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

/// `path` relative to the workspace. Models also write it as they see it in the container, or take the workspace for the
/// root: `/workspace/app/x`, `/app/x` and `./app/x` are all `app/x`.
fn relative(path: &str) -> Result<PathBuf, String> {
    let given = Path::new(path.trim());
    let inside = given.strip_prefix(WORKSPACE_DIR).unwrap_or(given);
    let mut relative = PathBuf::new();
    for component in inside.components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir if relative.pop() => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("{path} is not inside the workspace; paths are relative to it"));
            }
        }
    }
    Ok(relative)
}

/// A glob as a regular expression.
fn glob(pattern: &str) -> Result<Regex, String> {
    if pattern.trim().is_empty() || pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("a pattern has 1 to {MAX_PATTERN_BYTES} bytes, such as src/**/*.tsx"));
    }
    let pattern = pattern.trim().trim_start_matches("./").trim_start_matches('/');
    // a name without a directory is looked for everywhere
    let pattern = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
    let mut expression = String::from("^");
    let mut rest = &pattern[..];
    let mut depth = 0;
    while let Some(c) = rest.chars().next() {
        let (part, length) = match c {
            '*' if rest.starts_with("**/") => ("(?:.*/)?".to_owned(), 3),
            '*' if rest.starts_with("**") => (".*".to_owned(), 2),
            '*' => ("[^/]*".to_owned(), 1),
            '?' => ("[^/]".to_owned(), 1),
            '{' => {
                depth += 1;
                ("(?:".to_owned(), 1)
            }
            '}' if depth > 0 => {
                depth -= 1;
                (")".to_owned(), 1)
            }
            ',' if depth > 0 => ("|".to_owned(), 1),
            c if c.is_alphanumeric() || matches!(c, '/' | '_' | '-') => (c.to_string(), c.len_utf8()),
            c => (format!("\\{c}"), c.len_utf8()),
        };
        expression.push_str(&part);
        rest = &rest[length..];
    }
    expression.push('$');
    Regex::new(&expression).map_err(|error| format!("the pattern is not right: {error}"))
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
