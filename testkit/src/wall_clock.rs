//! The wall clock of one process, which a test can set by libfaketime. The monotonic clock goes on unchanged, as it does
//! when an operator sets a machine's clock.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where Debian's `faketime` puts the library for programs with threads.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The wall clock of every process that is started with [`env`](Self::env).
#[derive(Debug)]
pub struct WallClock {
    library: &'static Path,
    offset: PathBuf,
}

impl WallClock {
    /// Whether libfaketime is installed.
    #[must_use]
    pub fn is_possible() -> bool {
        library().is_some()
    }

    /// A clock that shows the machine's time until it is set. Its offset is kept in a file in `dir`.
    ///
    /// # Errors
    /// There is no libfaketime (Debian: `faketime`), or the file cannot be written.
    pub fn new(dir: &Path) -> Result<Self> {
        let library = library().context("libfaketime is not installed (Debian: faketime)")?;
        let clock = Self { library, offset: dir.join("offset") };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets the clock to the machine's time plus so many seconds.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // by a rename: a process that reads the time meanwhile finds the old offset or the new one, not half of it
        let new = self.offset.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}"))?;
        Ok(std::fs::rename(new, &self.offset)?)
    }

    /// The environment that makes a process use this clock.
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
