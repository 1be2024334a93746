//! `mgx files`: the files of a session's workspace, listed, printed or fetched.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use mgx_client::files::Entry;
use mgx_client::{Client, Error};
use mgx_protocol::SessionId;
use tokio::io::AsyncWriteExt;

use crate::cli::ids;
use crate::cli::out::ago::size;
use crate::cli::out::table::{Column, Form, Look};
use crate::cli::out::{self, Failure, Outcome, harmless};

/// Examples below the help text.
pub(crate) const EXAMPLES: &str = "\
Examples:
  mgx files bakery                        list what is in the workspace
  mgx files bakery app --all              list what is in a directory and below it
  mgx files bakery app/page.tsx           print a file
  mgx files bakery --to ./bakery          fetch every file into a directory";

/// Which files, and what to do with them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session; `mgx session list` lists them.
    session: SessionId,
    /// A directory to list, or a file to print; the whole workspace if absent.
    path: Option<String>,
    /// List what is below the directory, too.
    #[arg(long, short)]
    all: bool,
    /// Fetch the file, or every file of the directory, into this directory, which is made if it does not exist.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["all", "quiet", "wide", "json"])]
    to: Option<PathBuf>,
    /// Replace files that exist already.
    #[arg(long, requires = "to")]
    force: bool,
    #[command(flatten)]
    form: Form,
}

/// The columns of files.
const COLUMNS: [Column<Entry>; 4] = [
    Column::new("SIZE", |entry, _| if entry.is_dir { "-".to_owned() } else { size(entry.size) }),
    Column::new("CHANGED", |entry, look| look.time(entry.modified)),
    Column::further("KIND", |entry, _| entry.kind.clone()),
    Column::new("PATH", shown_path),
];

/// The path, with a slash behind that of a directory and an `@` behind that of a link.
fn shown_path(entry: &Entry, _: &Look) -> String {
    let mark = match entry.kind.as_str() {
        "directory" => "/",
        "symlink" => "@",
        _ => "",
    };
    format!("{}{mark}", entry.path)
}

/// What a path of a workspace is.
enum Found {
    File(String),
    Directory(Vec<Entry>),
}

/// Lists, prints or fetches files.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let session = ids::session(client, &args.session).await?;
    let workspace = &session.workspace_id;
    let path = args.path.as_deref().map(relative).transpose()?.filter(|path| !path.is_empty());
    let all = args.all || args.to.is_some();
    let found = match &path {
        None => Found::Directory(directory(client, workspace, None, all).await?),
        Some(path) => match client.file(workspace, path).await {
            Ok(Some(_)) => Found::File(path.clone()),
            Ok(None) => return Err(no_file(path, &args.session)),
            Err(Error::Refused(problem)) if problem.code == "not-regular-file" => {
                Found::Directory(directory(client, workspace, Some(path), all).await?)
            }
            Err(error) => return Err(error.into()),
        },
    };
    match (found, &args.to) {
        (Found::File(path), None) => print(client, workspace, &path).await?,
        (Found::File(path), Some(to)) => {
            let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
            fetch(client, workspace, &[(path, name)], to, args.force).await?;
        }
        (Found::Directory(entries), None) => args.form.show(&entries, |entry| entry.path.clone(), &COLUMNS),
        (Found::Directory(entries), Some(to)) => {
            let left_out = entries.iter().filter(|entry| !entry.is_dir && entry.kind != "file").count();
            let below = path.map(|path| format!("{path}/")).unwrap_or_default();
            let files: Vec<_> = entries
                .into_iter()
                .filter(|entry| entry.kind == "file")
                .map(|entry| {
                    (entry.path.clone(), entry.path.strip_prefix(&below).unwrap_or(&entry.path).to_owned())
                })
                .collect();
            fetch(client, workspace, &files, to, args.force).await?;
            if left_out > 0 {
                out::note(format_args!("{left_out} links and special files are left out"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn directory(
    client: &Client,
    workspace: &str,
    path: Option<&str>,
    all: bool,
) -> Result<Vec<Entry>, Failure> {
    let entries = client.files(workspace, path, all).await?;
    entries.ok_or_else(|| {
        Failure::new(format!("there is no directory {} any more", path.unwrap_or("of this session")))
    })
}

/// A path of a workspace as the API takes it.
fn relative(path: &str) -> Result<String, Failure> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    if path.starts_with('/') || names.contains(&"..") {
        let why = "a path begins in the workspace, with no / at its start and no .. in it";
        return Err(Failure::with(2, harmless(&format!("{path}: {why}"))));
    }
    Ok(names.join("/"))
}

/// Prints a file: as it is, or on a terminal only if it is text, and without what controls the terminal.
async fn print(client: &Client, workspace: &str, path: &str) -> Result<(), Failure> {
    let mut bytes = client.file(workspace, path).await?.ok_or_else(|| Failure::new("the file is gone"))?;
    let unwritable = |error| Failure::new(format!("cannot write the file: {error}"));
    if !out::is_terminal() {
        let mut output = tokio::io::stdout();
        while let Some(piece) = bytes.try_next().await? {
            output.write_all(&piece).await.map_err(unwritable)?;
        }
        return output.flush().await.map_err(unwritable);
    }
    let mut whole = Vec::new();
    while let Some(piece) = bytes.try_next().await? {
        whole.extend_from_slice(&piece);
    }
    match String::from_utf8(whole) {
        Ok(text) if !text.contains('\0') => {
            out::line(harmless(text.trim_end_matches('\n')));
            Ok(())
        }
        Ok(_) | Err(_) => Err(Failure::new(harmless(&format!(
            "{path} is no text; fetch it with --to DIR, or redirect the output"
        )))),
    }
}

/// Writes files, each given by its path in the workspace and its path below `to`. A file that the server does not give is
/// named, and the others are written.
async fn fetch(
    client: &Client,
    workspace: &str,
    files: &[(String, String)],
    to: &Path,
    force: bool,
) -> Result<(), Failure> {
    let (mut count, mut total) = (0, 0);
    for (path, below) in files {
        let target = to.join(relative(below)?);
        match client.file(workspace, path).await {
            Ok(Some(bytes)) => {
                total += write(bytes, &target, force).await?;
                count += 1;
            }
            Ok(None) => out::note(harmless(&format!("{path} is gone"))),
            Err(Error::Refused(problem)) => out::note(harmless(&format!("{path} is left out: {problem}"))),
            Err(error) => return Err(error.into()),
        }
    }
    out::line(format_args!("{count} files, {}, are in {}", size(total), to.display()));
    if count < files.len() {
        return Err(Failure::new(format!("{} files could not be fetched", files.len() - count)));
    }
    Ok(())
}

/// Writes one file, and returns its length.
async fn write(
    bytes: impl Stream<Item = Result<Bytes, Error>>,
    target: &Path,
    force: bool,
) -> Result<u64, Failure> {
    let unwritable =
        |error: io::Error| Failure::new(harmless(&format!("cannot write {}: {error}", target.display())));
    let mut bytes = std::pin::pin!(bytes);
    std::fs::create_dir_all(target.parent().unwrap_or(target)).map_err(unwritable)?;
    if force {
        // so that nothing is written through a link
        std::fs::remove_file(target).or_else(absent).map_err(unwritable)?;
    }
    let opened = std::fs::File::options().write(true).create_new(true).open(target);
    let mut file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(harmless(&format!("{} exists already; --force replaces it", target.display())))
        }
        _ => unwritable(error),
    })?;
    let mut length = 0;
    while let Some(piece) = bytes.try_next().await? {
        file.write_all(&piece).map_err(unwritable)?;
        length += piece.len() as u64;
    }
    Ok(length)
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn no_file(path: &str, session: &SessionId) -> Failure {
    Failure::new(harmless(&format!("there is no file {path}; `mgx files {session} --all` lists them")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_in_the_workspace() {
        let of = |path| relative(path).map_err(|failure| failure.code);
        assert_eq!(of("./app//page.tsx"), Ok("app/page.tsx".to_owned()));
        assert_eq!(of("."), Ok(String::new()));
        for outside in ["../x", "a/../../x", "/etc/passwd", ".."] {
            assert_eq!(of(outside), Err(2), "{outside}");
        }
    }
}
