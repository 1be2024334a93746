//! The text files of the repository, or of a small tree that a test makes up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// Directories that hold no source of ours.
const SKIPPED_DIRS: [&str; 4] = ["target", "node_modules", "data", "corpus"];

/// Files by their path from the root, with `/` between names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
}

impl Tree {
    /// The repository.
    pub(crate) fn repository() -> &'static Self {
        static REPOSITORY: OnceLock<Tree> = OnceLock::new();
        REPOSITORY.get_or_init(|| {
            let mut tree = Self::default();
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            tree.read(&root, "");
            assert!(tree.files.len() > 300, "the repository has more than {} files", tree.files.len());
            tree
        })
    }

    /// A tree of these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    fn read(&mut self, dir: &Path, prefix: &str) {
        for entry in std::fs::read_dir(dir).expect("the repository can be read").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().expect("the repository can be read");
            if kind.is_dir() && !name.starts_with(".git") && !SKIPPED_DIRS.contains(&&*name) {
                self.read(&entry.path(), &format!("{path}/"));
            } else if kind.is_file()
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                self.files.insert(path, text);
            }
        }
    }

    /// The text of a file; empty if there is none.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", String::as_str)
    }

    /// Whether there is a file or a directory at `path`.
    pub(crate) fn contains(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let dir = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&dir))
    }

    /// The Rust files of the workspace: those of `fuzz`, which is a workspace of its own, and of `templates`, which belong
    /// to users, are not among them.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files_with(".rs").filter(|(path, _)| !path.starts_with("templates/"))
    }

    /// The files whose names end in `suffix`.
    pub(crate) fn files_with(&self, suffix: &str) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (&**path, &**text))
            .filter(move |(path, _)| path.ends_with(suffix))
    }

    /// The manifests of the workspace's crates: their directory and their text.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        let manifests = self.files_with("/Cargo.toml").filter(|(path, _)| !path.starts_with("fuzz/"));
        manifests.map(|(path, text)| (path.trim_end_matches("/Cargo.toml"), text))
    }
}

/// Fails with every violation on a line of its own.
#[track_caller]
pub(crate) fn assert_kept(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// Fails unless there is one violation, with all of `parts` in it.
#[track_caller]
pub(crate) fn assert_found(violations: &[String], parts: &[&str]) {
    assert_eq!(violations.len(), 1, "one violation: {violations:#?}");
    for part in parts {
        assert!(violations[0].contains(part), "{part:?} is not in {:?}", violations[0]);
    }
}
