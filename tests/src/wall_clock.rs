//! The wall clock of one process, which a test can set: libfaketime stands between the process and the machine's.
//! The monotonic clock is left alone, as it is when somebody sets the clock of a real machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where Debian's `faketime` puts the library for programs with threads.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A clock for the processes that get its [`env`](Self::env).
#[derive(Debug)]
pub struct WallClock {
    library: &'static Path,
    offset: PathBuf,
}

impl WallClock {
    /// Whether libfaketime is there.
    #[must_use]
    pub fn is_possible() -> bool {
        library().is_some()
    }

    /// A clock that goes right until it is set; what it is off by is a file in `dir`.
    ///
    /// # Errors
    /// There is no libfaketime (Debian: `faketime`), or the file cannot be written.
    pub fn new(dir: &Path) -> Result<Self> {
        let library = library().context("libfaketime is not installed (Debian: faketime)")?;
        let clock = Self { library, offset: dir.join("offset") };
        clock.set(0)?;
        Ok(clock)
    }

    /// From now on it shows so many seconds more than the machine's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // whoever reads the time meanwhile finds the old offset or the new one, not half of it
        let new = self.offset.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}"))?;
        Ok(std::fs::rename(new, &self.offset)?)
    }

    /// What puts a process on this clock.
    #[must_use]
    pub fn env(&self) -> [(String, String); 5] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }
}

fn library() -> Option<&'static Path> {
    LIBRARIES.map(Path::new).into_iter().find(|path| path.is_file())
}
