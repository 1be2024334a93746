//! The agent image: a static runner and little else, imported into the engine as one deterministic tar.

use std::fmt::{self, Write as _};
use std::io;

use async_trait::async_trait;
use tokio_tar::{EntryType, Header};

use crate::{RuntimeError, RuntimeErrorKind};

/// The label of an image that holds the SHA-256 of its files. An image that is built from one of these has it too.
pub const CONTENT_LABEL: &str = "mgx.runner";

/// How many hexadecimal digits of its content the tag of an image has.
const TAG_DIGITS: usize = 12;

/// The size of a block of a tar, in bytes.
const TAR_BLOCK: usize = 512;

/// Whether the image had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// The image was made.
    Built,
    /// An image of this name and content existed.
    Present,
}

/// A file that an image has beside those of every agent image.
#[derive(Clone, Debug)]
pub enum Extra {
    /// A program, mode 0755, at this path (relative to `/`).
    Program(String, Vec<u8>),
    /// A symbolic link at the first path, to the second.
    Symlink(String, String),
}

/// The images of an engine.
#[async_trait]
pub trait Images: fmt::Debug + Send + Sync {
    /// The image `name`; `None` if there is none.
    ///
    /// # Errors
    /// The engine's.
    async fn find(&self, name: &str) -> Result<Option<FoundImage>, RuntimeError>;

    /// Makes `image` the one that `name` names.
    ///
    /// # Errors
    /// The engine's.
    async fn import(&self, name: &str, image: Image) -> Result<(), RuntimeError>;

    /// The images of a repository, such as `mgx-agent`, whatever their tag.
    ///
    /// # Errors
    /// The engine's.
    async fn of_repository(&self, repository: &str) -> Result<Vec<NamedImage>, RuntimeError>;

    /// Removes the image `name`, unless a container uses it; whether it is gone.
    ///
    /// # Errors
    /// The engine's.
    async fn remove(&self, name: &str) -> Result<bool, RuntimeError>;
}

/// An image that an engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Its [`CONTENT_LABEL`].
    pub content: Option<String>,
    /// What its containers start, program first.
    pub entry_point: Vec<String>,
}

/// An image in the list of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// Its name, as the engine has it: Podman puts `localhost/` before it.
    pub name: String,
    /// Its [`CONTENT_LABEL`].
    pub content: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: i64,
}

/// The parts of an image to import.
#[derive(Debug)]
pub struct Image {
    /// Its files, as a tar.
    pub rootfs: Vec<u8>,
    /// Its configuration, as instructions of a Dockerfile.
    pub changes: Vec<String>,
}

/// An image of the platform's own, ready to be imported. Its name says what is in it, so that no other image is ever
/// replaced by it, and older ones stay beside it.
#[derive(Debug)]
pub struct StockImage {
    name: String,
    content: String,
    rootfs: Vec<u8>,
}

impl StockImage {
    /// An image of `repository`, from a static `runner`, the certificates of `ca_bundle` (PEM) and `extras`.
    ///
    /// # Errors
    /// `Refused` if the runner is not a static program.
    pub fn pack(
        repository: &str,
        runner: &[u8],
        ca_bundle: Option<&[u8]>,
        extras: &[Extra],
    ) -> Result<Self, RuntimeError> {
        check_static(runner)?;
        let rootfs = rootfs(runner, ca_bundle, extras).map_err(|error| {
            RuntimeError::new(RuntimeErrorKind::Refused, "cannot pack the agent image").because(error)
        })?;
        let content = hex(ring::digest::digest(&ring::digest::SHA256, &rootfs).as_ref());
        Ok(Self { name: format!("{repository}:{}", &content[..TAG_DIGITS]), content, rootfs })
    }

    /// Its name: the repository, and the beginning of the hash of its content.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of its content: its [`CONTENT_LABEL`].
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Imports it, unless the engine has it.
    ///
    /// # Errors
    /// `Refused` if the engine has another image of this name; otherwise the engine's.
    pub async fn make(self, images: &dyn Images) -> Result<Made, RuntimeError> {
        match images.find(&self.name).await? {
            Some(found) if found.content.as_ref() == Some(&self.content) => return Ok(Made::Present),
            Some(_) => {
                let message = format!(
                    "the engine has an image {} that is not the platform's; give it another name, or remove it",
                    self.name
                );
                return Err(RuntimeError::new(RuntimeErrorKind::Refused, message));
            }
            None => {}
        }
        let changes = vec![
            "ENTRYPOINT [\"/agent-runner\"]".to_owned(),
            "USER 10001:10001".to_owned(),
            "WORKDIR /workspace".to_owned(),
            format!("LABEL {CONTENT_LABEL}={}", self.content),
        ];
        images.import(&self.name, Image { rootfs: self.rootfs, changes }).await?;
        Ok(Made::Built)
    }
}

/// Removes the images of the repository of `current` that the platform has made before it and no container uses. An image
/// whose tag does not say its content was made or named by the operator, and stays. Returns the names of those that are
/// gone.
///
/// # Errors
/// The engine's.
pub async fn remove_older(images: &dyn Images, current: &str) -> Result<Vec<String>, RuntimeError> {
    let Some((repository, _)) = current.rsplit_once(':') else { return Ok(Vec::new()) };
    let all = images.of_repository(repository).await?;
    let is_current =
        |image: &NamedImage| image.name.strip_prefix("localhost/").unwrap_or(&image.name) == current;
    let Some(newest) = all.iter().find(|image| is_current(image)).map(|image| image.created) else {
        return Ok(Vec::new());
    };
    let mut removed = Vec::new();
    for image in all.iter().filter(|image| image.created <= newest && !is_current(image)) {
        if is_named_by_content(image) && images.remove(&image.name).await? {
            removed.push(image.name.clone());
        }
    }
    Ok(removed)
}

/// Whether the tag of an image is the one that [`StockImage::pack`] gives to its content.
fn is_named_by_content(image: &NamedImage) -> bool {
    let tag = image.name.rsplit_once(':').map(|(_, tag)| tag);
    tag.is_some_and(|tag| {
        tag.len() == TAG_DIGITS && image.content.as_ref().is_some_and(|content| content.starts_with(tag))
    })
}

/// Whether a program needs no loader and no libraries.
pub fn is_static(program: &[u8]) -> bool {
    has_interpreter(program) == Some(false)
}

/// Refuses a program that would need a loader and libraries, which the image does not have.
fn check_static(program: &[u8]) -> Result<(), RuntimeError> {
    let refused = |message: &str| Err(RuntimeError::new(RuntimeErrorKind::Refused, message));
    match has_interpreter(program) {
        Some(false) => Ok(()),
        Some(true) => {
            refused("the agent-runner is linked dynamically: build it with -C target-feature=+crt-static")
        }
        None => refused("the agent-runner is not a 64-bit little-endian ELF program"),
    }
}

/// Whether an ELF program asks for an interpreter (a program header of type `PT_INTERP`, elf(5)).
/// `None` if it is not a 64-bit little-endian ELF program.
fn has_interpreter(program: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(program.get(at..at + 2)?.try_into().ok()?)));
    let first = usize::try_from(u64::from_le_bytes(program.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (u16_at(54)?, u16_at(56)?);
    (0..count).try_fold(false, |found, index| {
        let at = first.checked_add(size * index)?;
        let kind = program.get(at..at.checked_add(4)?)?;
        Some(found || u32::from_le_bytes(kind.try_into().ok()?) == PT_INTERP)
    })
}

/// The files of the image as a tar: the same bytes for the same content.
fn rootfs(runner: &[u8], ca_bundle: Option<&[u8]>, extras: &[Extra]) -> io::Result<Vec<u8>> {
    const DIRECTORIES: &[(&str, u32)] = &[
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("etc/ssl", 0o755),
        ("etc/ssl/certs", 0o755),
        ("proc", 0o755),
        ("run", 0o755),
        ("run/mgx", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("workspace", 0o755),
    ];
    const FILES: &[(&str, &str)] = &[
        ("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nagent:x:10001:10001:agent:/workspace:/bin/sh\n"),
        ("etc/group", "root:x:0:\nagent:x:10001:\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ];
    let mut tar = Vec::new();
    for &(path, mode) in DIRECTORIES {
        append(&mut tar, &format!("{path}/"), EntryType::Directory, mode, &[])?;
    }
    for &(path, text) in FILES {
        append(&mut tar, path, EntryType::Regular, 0o644, text.as_bytes())?;
    }
    if let Some(ca_bundle) = ca_bundle {
        append(&mut tar, "etc/ssl/certs/ca-certificates.crt", EntryType::Regular, 0o644, ca_bundle)?;
    }
    append(&mut tar, "agent-runner", EntryType::Regular, 0o755, runner)?;
    for extra in extras {
        match extra {
            Extra::Program(path, content) => append(&mut tar, path, EntryType::Regular, 0o755, content)?,
            Extra::Symlink(path, target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                header.set_path(path)?;
                header.set_link_name(target)?;
                header.set_cksum();
                tar.extend_from_slice(header.as_bytes());
            }
        }
    }
    // two blocks of zeros end a tar
    tar.resize(tar.len() + 2 * TAR_BLOCK, 0);
    Ok(tar)
}

fn append(tar: &mut Vec<u8>, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    header.set_path(path)?;
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(TAR_BLOCK), 0);
    Ok(())
}

/// A header without owner and time, so that equal files make equal bytes.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing into a string cannot fail
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_has_the_same_name_and_other_content_another() {
        let busybox = std::fs::read("/bin/busybox").unwrap();
        let extras = [Extra::Symlink("bin/sh".to_owned(), "busybox".to_owned())];
        let pack = |certificates: &[u8]| {
            StockImage::pack("mgx-agent", &busybox, Some(certificates), &extras).unwrap()
        };
        let (one, two, other) = (pack(b"certificates"), pack(b"certificates"), pack(b"others"));
        assert_eq!((one.name(), &one.rootfs), (two.name(), &two.rootfs));
        assert_ne!(one.name(), other.name());
        assert!(
            one.name().starts_with("mgx-agent:")
                && one.content().starts_with(&one.name()["mgx-agent:".len()..])
        );
    }

    #[test]
    fn a_runner_that_could_not_start_in_the_image_is_refused() {
        let dynamic = std::fs::read("/proc/self/exe").unwrap();
        let message = check_static(&dynamic).unwrap_err().to_string();
        assert!(message.contains("crt-static"), "{message}");
        for junk in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", &dynamic[..64]] {
            assert!(check_static(junk).is_err());
        }
        let busybox = std::fs::read("/bin/busybox").unwrap();
        check_static(&busybox).unwrap();
    }
}
