//! The data directory: the admin token, the log, and the lock that lets one process of a name use it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use serde::Serialize;

use crate::config::Config;
use crate::private_file;

/// The name of the admin token's file.
pub const TOKEN: &str = "admin.token";

/// The file of the key of the tokens that agents show to the LLM proxy.
pub(crate) const ATTEMPT_KEY: &str = "attempt.key";

/// The file of the key that the secrets of apps are derived from.
pub(crate) const APP_KEY: &str = "app.key";

/// The file of the keys that sign the tokens of the OAuth 2 provider.
pub(crate) const OAUTH2_KEY: &str = "oauth2.key";

/// What the last server took over at its start.
pub(crate) const HANDOVER: &str = "handover.json";

/// Where the data directory is, as the server that used it last has seen it.
pub(crate) const HOME: &str = "home.json";

/// Every file with a secret of the platform itself.
pub(crate) const KEYS: [&str; 4] = [TOKEN, ATTEMPT_KEY, APP_KEY, OAUTH2_KEY];

/// Makes the directory for its owner alone, unless it exists.
///
/// # Errors
/// The directory cannot be made.
pub fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(named(dir))
}

/// Writes `value` as JSON into the file `name`, in the place of an earlier one: as a whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn replace(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let staged = dir.join(format!("{name}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    let kept = serde_json::to_vec(value)
        .map_err(io::Error::other)
        .and_then(|json| file.write_all(&json))
        .and_then(|()| fs::rename(&staged, dir.join(name)));
    if kept.is_err() {
        fs::remove_file(&staged).ok();
    }
    kept
}

/// The error of an access to `path`, which names it.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The name of something in the directory, if there is anything but what file systems put there themselves.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn first_entry(dir: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", dir.display())))?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "lost+found" {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// What shows that a platform has used these directories, in words. One key alone may have been put there for a new one.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn trace_of_platform(config: &Config) -> io::Result<Option<String>> {
    let dir = &config.server.data_dir;
    if partial_store(&config.store.path).exists() {
        return Ok(Some("a backup that was not restored to its end".to_owned()));
    }
    if dir.join(HANDOVER).exists() {
        return Ok(Some(HANDOVER.to_owned()));
    }
    let keys: Vec<&str> = KEYS.into_iter().filter(|name| dir.join(name).exists()).collect();
    if keys.len() > 1 {
        return Ok(Some(keys.join(" and ")));
    }
    let first = first_entry(&config.workspaces.root)?;
    Ok(first.map(|name| format!("workspaces ({})", config.workspaces.root.join(name).display())))
}

/// Where a store is until the backup that it comes from is restored completely.
pub(crate) fn partial_store(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".restoring");
    path.into()
}

/// The admin token. The first call makes a random one, in a file that only its owner can read.
///
/// # Errors
/// The file cannot be read or made, holds no token, or others can read it.
pub fn admin_token(dir: &Path) -> io::Result<SecretString> {
    let path = dir.join(TOKEN);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let wrong = if let Some(why) = private_file::exposure(&path.metadata()?) {
                why
            } else if text.trim().len() < 16 {
                "holds no token; delete it, and the next start makes a new one".to_owned()
            } else {
                return Ok(text.trim().to_owned().into());
            };
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("weak-secret: {} {wrong}", path.display()),
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut random = [0; 32];
            SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
            let token = format!("mgx_admin_{}", URL_SAFE_NO_PAD.encode(random));
            match write_private(&path, &format!("{token}\n")) {
                // another process of the platform has made it meanwhile
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => admin_token(dir),
                written => written.map(|()| token.into()).map_err(named(&path)),
            }
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))),
    }
}

/// The path of the log of the background server with the name `process`.
pub fn log_path(dir: &Path, process: &str) -> PathBuf {
    dir.join(format!("{process}.log"))
}

/// The path of the note of the server with the name `process` about a proxy that it does not trust.
pub fn proxy_note(dir: &Path, process: &str) -> PathBuf {
    dir.join(format!("{process}.proxy"))
}

/// The path of that note, after the one of an earlier server is gone.
pub fn begin_proxy_note(dir: &Path, process: &str) -> PathBuf {
    let path = proxy_note(dir, process);
    fs::remove_file(&path).ok();
    path
}

/// Opens that log to append to it.
///
/// # Errors
/// The file cannot be opened.
pub fn log(dir: &Path, process: &str) -> io::Result<File> {
    let path = log_path(dir, process);
    OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(named(&path))
}

/// How long a lock may outlive the process that held it.
const LOCK_RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The lock of a process on the data directory, with its process id in the file. Dropping it releases the lock.
#[derive(Debug)]
pub struct PidFile(File);

/// A process that holds the lock of its name on a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The id of the process.
    pub pid: u32,
    /// The address that it listens on, once it does.
    pub address: Option<SocketAddr>,
}

impl PidFile {
    /// Locks the file of the name `process`, and writes the id of this process into it.
    ///
    /// # Errors
    /// Another process holds the lock.
    pub fn hold(dir: &Path, process: &str) -> io::Result<Self> {
        let mut file = open_pid_file(dir, process, true)?;
        // a process that is killed between fork and exec leaves the lock to its child until the child runs its program
        let end = Instant::now() + LOCK_RELEASE_TIMEOUT;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if Instant::now() < end {
                std::thread::sleep(LOCK_RELEASE_TIMEOUT / 50);
                continue;
            }
            let holder =
                read_holder(&mut file).map_or_else(String::new, |by| format!(" (process {})", by.pid));
            let message = format!("another mgx{holder} serves {}; stop it with `mgx down`", dir.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        let path = pid_path(dir, process);
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(named(&path))?;
        Ok(Self(file))
    }

    /// Writes the address that this process listens on into the file: the admin token is sent to no other.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn listens_on(&mut self, address: SocketAddr) -> io::Result<()> {
        writeln!(self.0, "{address}")
    }
}

/// The process that holds the lock of the name `process`, if one does.
///
/// # Errors
/// The file cannot be read.
pub fn server(dir: &Path, process: &str) -> io::Result<Option<Holder>> {
    let mut file = match open_pid_file(dir, process, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(_) => Ok(read_holder(&mut file)),
    }
}

/// Asks process `pid` to end (SIGTERM).
///
/// # Errors
/// The process does not exist, or belongs to another user.
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the number is no process"))?;
    kill_process(pid, Signal::TERM).map_err(io::Error::from)
}

fn open_pid_file(dir: &Path, process: &str, write: bool) -> io::Result<File> {
    let path = pid_path(dir, process);
    let options =
        OpenOptions::new().read(true).write(write).create(write).truncate(false).mode(0o600).clone();
    options.open(&path).map_err(named(&path))
}

fn pid_path(dir: &Path, process: &str) -> PathBuf {
    dir.join(format!("{process}.pid"))
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(128).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next()?.parse().ok()?;
    Some(Holder { pid, address: lines.next().and_then(|address| address.parse().ok()) })
}

/// Writes a file that only its owner can read, as a whole or not at all. Does not replace an existing file.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let staged = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&staged, path));
    fs::remove_file(&staged)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn the_token_is_made_once_and_refused_if_others_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let token = admin_token(dir.path()).unwrap();
        assert_eq!(admin_token(dir.path()).unwrap().expose_secret(), token.expose_secret());
        assert!(token.expose_secret().len() > 40);
        let path = dir.path().join(TOKEN);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(admin_token(dir.path()).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn one_process_of_a_name_holds_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(server(dir.path(), "mgx").unwrap(), None);
        let mut held = PidFile::hold(dir.path(), "mgx").unwrap();
        let holder = Holder { pid: std::process::id(), address: None };
        assert_eq!(server(dir.path(), "mgx").unwrap(), Some(holder));
        let address = "127.0.0.1:8765".parse().unwrap();
        held.listens_on(address).unwrap();
        assert_eq!(server(dir.path(), "mgx").unwrap(), Some(Holder { address: Some(address), ..holder }));
        let refused = PidFile::hold(dir.path(), "mgx").unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        assert_eq!(server(dir.path(), "mgx").unwrap(), None);
    }
}
