//! Things that are made under a name nobody looks at, and renamed to the right one when they are whole.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat, unlinkat};
use rustix::io::Errno;

use crate::file::FileError;

const PREFIX: &str = ".mgx-";
const SUFFIX: &str = ".part";

/// A name that nobody has, or can guess.
pub(crate) fn name() -> Result<String, FileError> {
    Ok(format!("{PREFIX}{}{SUFFIX}", random_hex::<8>()?))
}

/// Whether a name is one of [`name`]'s, and so is shown to nobody.
pub(crate) fn is_staged(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.ends_with(SUFFIX))
}

/// `N` random bytes in hexadecimal.
pub(crate) fn random_hex<const N: usize>() -> Result<String, FileError> {
    let mut bytes = [0; N];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| FileError::Io(std::io::Error::other("the kernel gives no randomness")))?;
    Ok(hex(&bytes))
}

/// `bytes` in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A new empty file in `dir` for this process alone.
pub(crate) fn create(dir: impl AsFd, name: &str) -> Result<File, FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Writes a small file (mode 0600) that is never written again: whole, durable, and by whoever comes first.
/// `false`: somebody was faster.
pub(crate) fn write_once(dir: impl AsFd, target: &str, bytes: &[u8]) -> Result<bool, FileError> {
    let staged = name()?;
    let mut file = create(&dir, &staged)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(FileError::from);
    let linked = written.and_then(|()| match linkat(&dir, &staged, &dir, target, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    });
    unlinkat(&dir, &staged, AtFlags::empty())?;
    rustix::fs::fsync(&dir)?;
    linked
}
