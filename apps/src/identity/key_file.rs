//! A file with the key that signs tokens, readable for this process's user only.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mgx_workspaces::{FileError, write_once};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

/// Why a key file cannot be used. The operator repairs the file, or removes it: running agents then lose their access to
/// the model, and nothing else happens.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// Other users of the host may read or write it.
    #[error("the token key is open to others: chmod 600")]
    Open,
    /// It is not a key file.
    #[error("the token key is not a regular file of {KEY_BYTES} bytes")]
    Malformed,
    /// It cannot be read or created.
    #[error("cannot read or create the token key: {0}")]
    Io(#[from] io::Error),
}

/// Reads a key, or creates one (mode 0600) if there is none. Two processes that start at once get the same key.
pub(crate) fn load_or_create(path: &Path) -> Result<[u8; KEY_BYTES], TokenKeyError> {
    match read(path) {
        Err(TokenKeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            create(path)?;
            read(path)
        }
        result => result,
    }
}

fn read(path: &Path) -> Result<[u8; KEY_BYTES], TokenKeyError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::LOOP) => return Err(TokenKeyError::Malformed),
        opened => opened.map_err(io::Error::from)?,
    };
    let stat = fstat(&file).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(TokenKeyError::Malformed);
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(TokenKeyError::Open);
    }
    let mut bytes = Vec::new();
    File::from(file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    bytes.try_into().map_err(|_| TokenKeyError::Malformed)
}

/// Creates a key, unless another process created one meanwhile.
fn create(path: &Path) -> Result<(), TokenKeyError> {
    let mut key = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
    let name = path.file_name().and_then(OsStr::to_str).ok_or(TokenKeyError::Malformed)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    write_once(dir.map_err(io::Error::from)?, name, &key).map_err(|error| match error {
        FileError::Io(error) => error.into(),
        other => TokenKeyError::Io(io::Error::other(other)),
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_key_survives_a_restart_and_no_other_user_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.key");
        let key = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the key");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_or_create(&path), Err(TokenKeyError::Open)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(load_or_create(&path), Err(TokenKeyError::Malformed)));
        fs::remove_file(&path).unwrap();
        symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(load_or_create(&path), Err(TokenKeyError::Malformed)));
    }

    #[test]
    fn processes_that_start_at_once_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_create(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }
}
