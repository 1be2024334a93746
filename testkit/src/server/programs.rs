//! The programs that tests start: `mgx` and the agent runner of this build.

use std::path::{Path, PathBuf};

/// The `mgx` program of this build: `MGX_BIN`, or the one beside the tests.
#[must_use]
pub fn mgx_program() -> PathBuf {
    // a program stands beside it, a test one directory below
    let beside = || {
        let here = std::env::current_exe().ok()?;
        here.ancestors().skip(1).take(2).map(|dir| dir.join("mgx")).find(|path| path.is_file())
    };
    let path = std::env::var_os("MGX_BIN").map(PathBuf::from).or_else(beside).unwrap_or_default();
    assert!(path.is_file(), "{} is not there: build it with `cargo build --bin mgx`", path.display());
    path
}

/// The static agent runner: `MGX_AGENT_RUNNER`, or the one in this build's `images`.
#[must_use]
pub fn agent_runner_program() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images/agent-runner");
    let path = std::env::var_os("MGX_AGENT_RUNNER").map_or(built, PathBuf::from);
    assert!(path.is_file(), "{} is not there: build it with `just build`", path.display());
    path
}
