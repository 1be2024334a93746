//! Reads the archive of a backup to its end, and checks that every entry is what was written.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use async_compression::tokio::bufread::GzipDecoder;
use futures_util::TryStreamExt;
use ring::digest::{Context, SHA256, digest};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio_tar::{Archive, EntryType};

use super::archive::{END, End, FORMAT, KEYS, MANIFEST, MAX_JSON_BYTES, Manifest, STORE, Tally, WORKSPACES};

/// How many bytes are read at a time.
const BLOCK: usize = 64 << 10;

/// An entry of a backup, and what its header says.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// In seconds since 1970.
    pub(super) modified: i64,
}

/// Where an entry belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Store,
    /// The key of this name.
    Key(String),
    /// The path below the root of the workspaces.
    Workspace(PathBuf),
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum Kind {
    Directory,
    File,
    Link(Vec<u8>),
}

/// Where the entries of a backup go.
pub(super) trait Sink {
    /// Begins an entry.
    fn begin(&mut self, entry: &Entry) -> io::Result<()>;
    /// Adds to the content of the file that was begun.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Ends the entry.
    fn end(&mut self, entry: &Entry) -> io::Result<()>;
}

/// Reads entries, and keeps nothing.
pub(super) struct Discard;

impl Sink for Discard {
    fn begin(&mut self, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _entry: &Entry) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a backup to its end. `begin` gets the manifest before anything else, and may refuse it.
///
/// # Errors
/// The file is no backup, or damaged, or cut off; or `begin` or `sink` fails.
pub(super) async fn read(
    file: File,
    begin: impl FnOnce(&Manifest) -> io::Result<()>,
    sink: &mut impl Sink,
) -> io::Result<Manifest> {
    let file = BufReader::with_capacity(BLOCK, tokio::fs::File::from_std(file));
    let mut archive = Archive::new(GzipDecoder::new(file));
    let mut entries = archive.entries()?;
    let (mut begin, mut manifest, mut tally) = (Some(begin), None, Tally::new());
    let mut block = vec![0; BLOCK];
    while let Some(mut entry) = entries.try_next().await.map_err(|error| cut_off(&error))? {
        let path = entry.path_bytes()?.into_owned();
        if manifest.is_none() {
            if path != MANIFEST.as_bytes() {
                return Err(wrong("it is not a backup of mgx"));
            }
            let (bytes, found) = json::<Manifest>(&mut entry).await?;
            if found.format > FORMAT {
                return Err(wrong(format!(
                    "it was made by mgx {}: use that version or a newer one",
                    found.version
                )));
            }
            tally.add(&path, &digest(&SHA256, &bytes));
            begin.take().map_or(Ok(()), |begin| begin(&found))?;
            manifest = Some(found);
            continue;
        }
        if path == END.as_bytes() {
            let (_, end) = json::<End>(&mut entry).await?;
            if end != tally.end() {
                return Err(wrong("it is damaged: what is in it is not what was written"));
            }
            return manifest.ok_or_else(|| wrong("it is not a backup of mgx"));
        }
        let found = described(&path, &entry)?;
        sink.begin(&found)?;
        let mut sum = Context::new(&SHA256);
        if let Kind::Link(target) = &found.kind {
            sum.update(target);
        }
        loop {
            let count = entry.read(&mut block).await.map_err(|error| cut_off(&error))?;
            if count == 0 {
                break;
            }
            sum.update(&block[..count]);
            sink.write(&block[..count])?;
        }
        sink.end(&found)?;
        tally.add(&path, &sum.finish());
    }
    Err(wrong("it is cut off: its end is missing"))
}

/// What an entry is by its header; an error for one that no backup has.
fn described<R: AsyncRead + Unpin>(path: &[u8], entry: &tokio_tar::Entry<R>) -> io::Result<Entry> {
    let header = entry.header();
    let text = Path::new(OsStr::from_bytes(path));
    let is_plain = text.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let foreign = || wrong(format!("it has an entry that no backup has: {}", text.display()));
    let place = if !is_plain {
        return Err(foreign());
    } else if text == Path::new(STORE) {
        Place::Store
    } else if let Ok(below) = text.strip_prefix(WORKSPACES) {
        Place::Workspace(below.to_owned())
    } else {
        let name = text.strip_prefix(KEYS).ok().and_then(Path::to_str).ok_or_else(foreign)?;
        if name.is_empty() || name.contains('/') {
            return Err(foreign());
        }
        Place::Key(name.to_owned())
    };
    let kind = match header.entry_type() {
        EntryType::Regular => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Link(entry.link_name_bytes()?.ok_or_else(foreign)?.into_owned()),
        // an enum of tokio-tar
        _ => return Err(foreign()),
    };
    if !matches!((&place, &kind), (Place::Workspace(_), _) | (_, Kind::File)) {
        return Err(foreign());
    }
    let id = |id: u64| u32::try_from(id).map_err(|_| foreign());
    Ok(Entry {
        place,
        kind,
        mode: header.mode()? & 0o777,
        owner: (id(header.uid()?)?, id(header.gid()?)?),
        modified: i64::try_from(header.mtime()?).unwrap_or(0),
    })
}

/// The content of a small entry, and the value that it is.
async fn json<T: DeserializeOwned>(entry: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, T)> {
    let mut bytes = Vec::new();
    entry.take(MAX_JSON_BYTES).read_to_end(&mut bytes).await.map_err(|error| cut_off(&error))?;
    let value = serde_json::from_slice(&bytes).map_err(|_| wrong("it is not a backup of mgx"))?;
    Ok((bytes, value))
}

fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// An archive that cannot be read on: it was cut off, damaged, or is another file.
fn cut_off(error: &io::Error) -> io::Error {
    wrong(format!("it cannot be read to its end: {error}"))
}
