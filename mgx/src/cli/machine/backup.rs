//! `mgx backup` and `mgx restore`: everything that the platform keeps, as one file.

mod archive;
mod reader;
mod restored;
mod tree;
mod writer;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;
use mgx_protocol::quantity::show_size;
use mgx_store::Snapshot;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use self::archive::{FORMAT, KEYS, MANIFEST, Manifest, STORE};
use self::reader::Discard;
use self::restored::Restored;
use self::tree::Tree;
use self::writer::Writer;
use crate::cli::out::{self, Failure, Outcome};
use crate::config::Config;
use crate::data_dir::{self, PidFile};

/// What to put where.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file to write, such as `mgx.tar.gz`. It must not exist yet.
    file: PathBuf,
    /// Include the keys and the admin token; without them, people sign in again after a restore.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true, default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    keys: bool,
    /// Include the files of the workspaces.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true, default_missing_value = "true",
          num_args = 0..=1, require_equals = true, value_name = "BOOL")]
    workspaces: bool,
}

/// What to restore.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// A file written by `mgx backup`.
    file: PathBuf,
}

/// A directory for files that are not complete yet, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn beside(file: &Path) -> io::Result<Self> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let dir = file.with_file_name(format!(".{name}.{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&dir).map(|()| Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Writes a backup.
pub(crate) async fn run(config: &Config, args: &Args) -> Outcome {
    refuse_shared(config, "mgx backup")?;
    let file = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("no backup was made: {error}"));
    if file.symlink_metadata().is_ok() {
        return Err(failed(&format_args!("{} is there already", args.file.display())));
    }
    let parent = file.parent().unwrap_or(Path::new("/"));
    let inside = parent.canonicalize().ok().zip(config.workspaces.root.canonicalize().ok());
    if args.workspaces && inside.is_some_and(|(parent, root)| parent.starts_with(root)) {
        return Err(failed(&format_args!("{} would be a part of itself", args.file.display())));
    }
    let made = async {
        let scratch = Scratch::beside(&file).map_err(|error| at(parent, &error))?;
        write(config, args, &scratch.0, &file).await
    };
    let shown = tokio::select! {
        made = Box::pin(made) => made.map_err(|error| failed(&error))?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::with(130, "interrupted; no backup was made")),
    };
    out::line(format_args!("{}  {shown}", args.file.display()));
    Ok(ExitCode::SUCCESS)
}

/// Restores a backup.
pub(crate) async fn restore(config: &Config, args: &RestoreArgs) -> Outcome {
    refuse_shared(config, "mgx restore")?;
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("nothing was restored from {}: {error}", args.file.display()))
    };
    let file = File::open(&args.file).map_err(|error| failed(&error))?;
    let mut restored = Restored::begin(config).map_err(|error| failed(&error))?;
    let data = &config.server.data_dir;
    let lock = PidFile::hold(data, &config.process()).map_err(|error| failed(&error))?;
    let read = Box::pin(reader::read(file, |_| Ok(()), &mut restored)).await;
    let completed = read.and_then(|manifest| restored.complete(&manifest).map(|()| manifest));
    let manifest = match completed {
        Ok(manifest) => manifest,
        Err(error) => {
            restored.remove();
            fs::remove_file(data.join(format!("{}.pid", config.process()))).ok();
            return Err(failed(&error));
        }
    };
    drop(lock);
    out::line(format_args!("{}  restored: {}", data.display(), show(&manifest, restored.files)));
    if !manifest.keys {
        out::note("the backup has no keys: the next start makes new ones, and people sign in again");
    }
    out::note(
        "start it with `mgx up --detach`; never run it beside the platform that was backed up on the same engine",
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes the archive into `scratch`, reads it back, and gives it its name. What is in it, in words.
async fn write(config: &Config, args: &Args, scratch: &Path, file: &Path) -> io::Result<String> {
    let (from, copy) = (config.store.path.clone(), scratch.join(STORE));
    let taken = tokio::task::spawn_blocking({
        let copy = copy.clone();
        move || Snapshot::take(&from, &copy)
    });
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: Timestamp::now(),
        keys: args.keys,
        workspaces: args.workspaces,
        store: taken.await.map_err(io::Error::other)?.map_err(io::Error::other)?,
    };
    let path = scratch.join("archive");
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let mut writer = Writer::new(target);
    writer.add_json(MANIFEST, &manifest).await?;
    let mut files = 1;
    if args.keys {
        for name in data_dir::KEYS {
            let key = config.server.data_dir.join(name);
            match File::open(&key) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => {
                    let opened = opened.map_err(|error| at(&key, &error))?;
                    writer.add(&format!("{KEYS}/{name}"), opened).await?;
                    files += 1;
                }
            }
        }
    }
    let root = &config.workspaces.root;
    if args.workspaces && root.exists() {
        let mut tree = Tree::open(root).map_err(|error| at(root, &error))?;
        while let Some(node) = tree.next().map_err(|error| at(root, &error))? {
            writer.add_node(node).await?;
            files += 1;
        }
        if tree.left_out > 0 {
            out::note(format_args!(
                "{} files of workspaces were left out: sockets and the like, or removed meanwhile",
                tree.left_out
            ));
        }
    }
    writer.add(STORE, File::open(&copy)?).await?;
    writer.finish().await?;
    fs::remove_file(&copy)?;
    let found = reader::read(File::open(&path)?, |_| Ok(()), &mut Discard).await;
    if found.map_err(|error| io::Error::other(format!("the file that was written is not sound: {error}")))?
        != manifest
    {
        return Err(io::Error::other("the file that was written is not sound"));
    }
    renameat_with(CWD, &path, CWD, file, RenameFlags::NOREPLACE).map_err(|error| at(file, &error.into()))?;
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    Ok(format!("{}, {}", show_size(file.metadata()?.len()), show(&manifest, files)))
}

/// A shared store is backed up by its own server.
fn refuse_shared(config: &Config, command: &str) -> Result<(), Failure> {
    if config.store.url.get().is_none() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{command}` is for the embedded store, and this platform's is on a MongoDB server: back it up with `mongodump \
         --oplog` and restore it with `mongorestore --oplogReplay`, and copy the keys and the workspaces in {} (docs/backup.md)",
        config.server.data_dir.display()
    )))
}

fn show(manifest: &Manifest, files: u64) -> String {
    let Manifest { made_at, keys, workspaces, store, .. } = manifest;
    let Snapshot { sessions, jobs, events, .. } = store;
    let with = |is: bool| if is { "with" } else { "without" };
    format!(
        "{sessions} sessions, {jobs} jobs, {events} events; {files} files, {} keys, {} workspaces; made at {made_at:.0}",
        with(*keys),
        with(*workspaces)
    )
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
