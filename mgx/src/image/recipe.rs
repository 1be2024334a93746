//! What an image of the platform's own is made from: the static runner, the certificates of this machine, and busybox.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mgx_runtimes::image::{Extra, StockImage, is_static};
use mgx_runtimes::{RuntimeError, RuntimeErrorKind};

use super::BASE;
use crate::config::Config;

/// Files of certificate authorities on common distributions.
const CA_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The largest file that becomes a part of the image, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Where busybox is searched for, beside `PATH`.
const BUSYBOX_DIRECTORIES: [&str; 4] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"];

/// The names of busybox's program: Alpine has a static one beside the other.
const BUSYBOX_NAMES: [&str; 2] = ["busybox", "busybox.static"];

/// The files of an image of the platform's own.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    repository: &'static str,
    runner: PathBuf,
    ca_bundle: Option<PathBuf>,
    busybox: Option<PathBuf>,
}

impl Recipe {
    /// The files for an image of `repository` on this machine.
    ///
    /// # Errors
    /// One is missing; the text has the remedy.
    pub(super) fn of(config: &Config, repository: &'static str) -> Result<Self, String> {
        let runner = runner(config).ok_or(
            "there is no runner to make the agent image from: run `just build`, or set agent.runner, or name an image of \
             your own in agent.image (docs/images.md)",
        )?;
        let busybox = match repository {
            BASE => Some(static_busybox().ok_or(
                "the image mgx-base is made from a static busybox, and this machine has none: install one \
                 (`apt-get install busybox-static`), or set agent.image to \"mgx-agent\"",
            )?),
            _ => None,
        };
        Ok(Self { repository, runner, ca_bundle: ca_bundle(), busybox })
    }

    /// The image, from the files as they are now.
    ///
    /// # Errors
    /// A file cannot be read, or the runner is not a static program.
    pub(super) fn pack(&self) -> Result<StockImage, RuntimeError> {
        let runner = read(&self.runner)?;
        let ca_bundle = self.ca_bundle.as_deref().map(read).transpose()?;
        let mut extras = Vec::new();
        if let Some(busybox) = &self.busybox {
            extras.push(Extra::Program("bin/busybox".to_owned(), read(busybox)?));
            let applets = applets(busybox).map_err(|error| cannot_read(busybox, error))?;
            let names = applets.lines().filter(|name| is_applet(name));
            extras.extend(names.map(|name| Extra::Symlink(format!("bin/{name}"), "busybox".to_owned())));
        }
        StockImage::pack(self.repository, &runner, ca_bundle.as_deref(), &extras)
    }
}

/// The file of the static runner: the one that the configuration names, the one beside this program, or the one in the
/// folder `images` beside its folder.
pub(crate) fn runner(config: &Config) -> Option<PathBuf> {
    if !config.agent.runner.as_os_str().is_empty() {
        return Some(config.agent.runner.clone());
    }
    let program = std::env::current_exe().ok()?;
    let beside = program.parent()?;
    let build = beside.parent().unwrap_or(beside);
    [beside.join("agent-runner"), build.join("images/agent-runner")].into_iter().find(|path| path.is_file())
}

/// The file of certificate authorities of this machine, if there is one.
pub(crate) fn ca_bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(CA_BUNDLES.map(PathBuf::from)).find(|path| path.is_file())
}

fn static_busybox() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> =
        std::env::split_paths(&path).chain(BUSYBOX_DIRECTORIES.map(PathBuf::from)).collect();
    let files = directories.iter().flat_map(|directory| BUSYBOX_NAMES.map(|name| directory.join(name)));
    files.into_iter().find(|file| file.is_file() && read(file).is_ok_and(|program| is_static(&program)))
}

/// The names of busybox's programs, one on each line.
fn applets(busybox: &Path) -> io::Result<String> {
    let output = Command::new(busybox).arg("--list").stdin(Stdio::null()).env_clear().output()?;
    String::from_utf8(output.stdout).map_err(io::Error::other)
}

/// Whether a line of the list is a name for a link; busybox itself is no link.
fn is_applet(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name != "busybox" && !name.contains('/') && !name.starts_with('.')
}

fn read(path: &Path) -> Result<Vec<u8>, RuntimeError> {
    let found = std::fs::metadata(path).map_err(|error| cannot_read(path, error))?;
    if found.len() > FILE_BYTES_MAX {
        return Err(cannot_read(path, io::Error::other("the file is too large for the image")));
    }
    std::fs::read(path).map_err(|error| cannot_read(path, error))
}

fn cannot_read(path: &Path, error: io::Error) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::Refused, format!("cannot read {}", path.display())).because(error)
}
