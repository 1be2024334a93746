//! Writes the archive of a backup.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use async_compression::tokio::write::GzipEncoder;
use jiff::Timestamp;
use ring::digest::{Context, SHA256, digest};
use rustix::fs::Stat;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, repeat};
use tokio_tar::{Builder, EntryType, Header};
use tokio_util::io::InspectReader;

use super::archive::{END, Tally, WORKSPACES};
use super::tree::{Content, Node};

/// Files of the platform itself are for their owner alone.
const PRIVATE: u32 = 0o600;

/// An archive that is being written.
pub(super) struct Writer {
    tar: Builder<BufWriter<GzipEncoder<tokio::fs::File>>>,
    tally: Tally,
}

impl Writer {
    /// Begins an archive in an empty file.
    pub(super) fn new(file: File) -> Self {
        let gzip = GzipEncoder::new(tokio::fs::File::from_std(file));
        Self {
            tar: Builder::new_non_terminated(BufWriter::with_capacity(64 << 10, gzip)),
            tally: Tally::new(),
        }
    }

    /// Adds a file of the platform itself.
    pub(super) async fn add(&mut self, path: &str, file: File) -> io::Result<()> {
        let length = file.metadata()?.len();
        self.append_file(path.as_bytes(), private_header(), file, length).await
    }

    /// Adds a value as JSON.
    pub(super) async fn add_json(&mut self, path: &str, value: &impl Serialize) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(value)?;
        self.tally.add(path.as_bytes(), &digest(&SHA256, &json));
        self.append(path.as_bytes(), private_header(), &json).await
    }

    /// Adds what was found in the workspaces.
    pub(super) async fn add_node(&mut self, node: Node) -> io::Result<()> {
        let path = [WORKSPACES.as_bytes(), b"/", node.path.as_os_str().as_bytes()].concat();
        let mut header = header_of(&node.stat);
        match node.content {
            Content::Directory => {
                header.set_entry_type(EntryType::Directory);
                self.tally.add(&path, &digest(&SHA256, b""));
                self.append(&path, header, b"").await
            }
            Content::Link(target) => {
                self.tally.add(&path, &digest(&SHA256, &target));
                header.set_entry_type(EntryType::Symlink);
                if let Some(field) = header.as_old_mut().linkname.get_mut(..target.len()) {
                    field.copy_from_slice(&target);
                } else {
                    // a target that does not fit into the header goes before it, as GNU tar does it
                    let mut long = private_header();
                    long.set_entry_type(EntryType::GNULongLink);
                    self.append(b"././@LongLink", long, &[&target[..], b"\0"].concat()).await?;
                }
                self.append(&path, header, b"").await
            }
            Content::File(file) => {
                let length = u64::try_from(node.stat.st_size).unwrap_or(0);
                self.append_file(&path, header, file, length).await
            }
        }
    }

    /// Adds the last entry, and makes sure that everything is on the disk.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        let end = serde_json::to_vec(&self.tally.clone().end())?;
        self.append(END.as_bytes(), private_header(), &end).await?;
        self.tar.finish().await?;
        let mut buffer = self.tar.into_inner().await?;
        buffer.shutdown().await?;
        buffer.into_inner().into_inner().sync_all().await
    }

    /// Adds `length` bytes of a file, which may be written meanwhile: what is missing is filled with zeros.
    async fn append_file(
        &mut self,
        path: &[u8],
        mut header: Header,
        file: File,
        length: u64,
    ) -> io::Result<()> {
        let mut sum = Context::new(&SHA256);
        header.set_entry_type(EntryType::Regular);
        header.set_size(length);
        let content = tokio::fs::File::from_std(file).chain(repeat(0)).take(length);
        let content = InspectReader::new(content, |bytes| sum.update(bytes));
        self.tar.append_data(&mut header, Path::new(OsStr::from_bytes(path)), content).await?;
        self.tally.add(path, &sum.finish());
        Ok(())
    }

    async fn append(&mut self, path: &[u8], mut header: Header, content: &[u8]) -> io::Result<()> {
        header.set_size(content.len() as u64);
        self.tar.append_data(&mut header, Path::new(OsStr::from_bytes(path)), content).await
    }
}

fn private_header() -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(PRIVATE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(Timestamp::now().as_second()).unwrap_or(0));
    header
}

fn header_of(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header
}
