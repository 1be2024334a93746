//! The agent image: a static runner and little else, imported into the engine as one deterministic tar.

use std::fmt::{self, Write as _};
use std::io;

use async_trait::async_trait;
use tokio_tar::{Builder, EntryType, Header};

use crate::{RuntimeError, RuntimeErrorKind};

/// The label of an image that holds the SHA-256 of its files.
pub const CONTENT_LABEL: &str = "mgx.runner";

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
    /// The [`CONTENT_LABEL`] of the image `tag`; `None` if it has none, or there is no such image.
    ///
    /// # Errors
    /// The engine's.
    async fn content(&self, tag: &str) -> Result<Option<String>, RuntimeError>;

    /// Makes `image` the one that `tag` names.
    ///
    /// # Errors
    /// The engine's.
    async fn import(&self, tag: &str, image: Image) -> Result<(), RuntimeError>;
}

/// The parts of an image to import.
#[derive(Debug)]
pub struct Image {
    /// Its files, as a tar.
    pub rootfs: Vec<u8>,
    /// Its configuration, as instructions of a Dockerfile.
    pub changes: Vec<String>,
}

/// Makes the agent image `tag` from a static `runner`, the certificates of `ca_bundle` (PEM) and `extras`,
/// unless an image of this name and content exists.
///
/// # Errors
/// `Refused` if the runner is not a static program; otherwise the engine's.
pub async fn agent_image(
    images: &dyn Images,
    tag: &str,
    runner: &[u8],
    ca_bundle: Option<&[u8]>,
    extras: &[Extra],
) -> Result<Made, RuntimeError> {
    check_static(runner)?;
    let refused = |error: io::Error| {
        RuntimeError::new(RuntimeErrorKind::Refused, "cannot pack the agent image").because(error)
    };
    let tar = rootfs(runner, ca_bundle, extras).await.map_err(refused)?;
    let content = hex(ring::digest::digest(&ring::digest::SHA256, &tar).as_ref());

    if images.content(tag).await?.is_some_and(|there| there == content) {
        return Ok(Made::Present);
    }
    let changes = vec![
        "ENTRYPOINT [\"/agent-runner\"]".to_owned(),
        "USER 10001:10001".to_owned(),
        "WORKDIR /workspace".to_owned(),
        format!("LABEL {CONTENT_LABEL}={content}"),
    ];
    images.import(tag, Image { rootfs: tar, changes }).await?;
    Ok(Made::Built)
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
async fn rootfs(runner: &[u8], ca_bundle: Option<&[u8]>, extras: &[Extra]) -> io::Result<Vec<u8>> {
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
    let mut tar = Builder::new(Vec::new());
    for &(path, mode) in DIRECTORIES {
        append(&mut tar, &format!("{path}/"), EntryType::Directory, mode, &[]).await?;
    }
    for &(path, text) in FILES {
        append(&mut tar, path, EntryType::Regular, 0o644, text.as_bytes()).await?;
    }
    if let Some(ca_bundle) = ca_bundle {
        append(&mut tar, "etc/ssl/certs/ca-certificates.crt", EntryType::Regular, 0o644, ca_bundle).await?;
    }
    append(&mut tar, "agent-runner", EntryType::Regular, 0o755, runner).await?;
    for extra in extras {
        match extra {
            Extra::Program(path, content) => {
                append(&mut tar, path, EntryType::Regular, 0o755, content).await?;
            }
            Extra::Symlink(path, target) => {
                let mut header = header(EntryType::Symlink, 0o777, 0);
                header.set_path(path)?;
                header.set_link_name(target)?;
                header.set_cksum();
                tar.append(&header, io::Cursor::new(&[])).await?;
            }
        }
    }
    tar.into_inner().await
}

async fn append(
    tar: &mut Builder<Vec<u8>>,
    path: &str,
    kind: EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = header(kind, mode, content.len() as u64);
    header.set_path(path)?;
    header.set_cksum();
    tar.append(&header, io::Cursor::new(content)).await
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

    #[tokio::test]
    async fn the_same_content_makes_the_same_bytes() {
        let extras = [Extra::Symlink("bin/sh".to_owned(), "busybox".to_owned())];
        let one = rootfs(b"runner", Some(b"certificates"), &extras).await.unwrap();
        let two = rootfs(b"runner", Some(b"certificates"), &extras).await.unwrap();
        let other = rootfs(b"runner 2", Some(b"certificates"), &extras).await.unwrap();
        assert_eq!(one, two);
        assert_ne!(one, other);
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
