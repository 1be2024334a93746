//! `mgx export` and `mgx import`: a session as one file.

use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::TryStreamExt;
use mgx_client::Client;
use mgx_protocol::SessionId;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::cli::ids;
use crate::cli::out::{self, Failure, Outcome};

/// Which session to export.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session; `mgx session list` lists them.
    session: SessionId,
}

/// Which file to import.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// A file written by `mgx export`; `-`: standard input.
    file: PathBuf,
}

/// Writes the session to standard output.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let session = ids::session_id(client, &args.session).await?;
    let Some(mut lines) = client.export(&session).await? else {
        return Err(Failure::new(format!("there is no session {session}; `mgx session list` lists them")));
    };
    let mut output = tokio::io::stdout();
    let unwritable = |error| Failure::new(format!("cannot write the session: {error}"));
    while let Some(bytes) = lines.try_next().await? {
        output.write_all(&bytes).await.map_err(unwritable)?;
    }
    output.flush().await.map_err(unwritable)?;
    Ok(ExitCode::SUCCESS)
}

/// Sends the file.
pub(crate) async fn import(client: &Client, args: &ImportArgs) -> Outcome {
    let body = if args.file.as_os_str() == "-" {
        reqwest::Body::wrap_stream(ReaderStream::new(tokio::io::stdin()))
    } else {
        let file = tokio::fs::File::open(&args.file).await;
        let unreadable = |error| Failure::new(format!("cannot read {}: {error}", args.file.display()));
        reqwest::Body::wrap_stream(ReaderStream::new(file.map_err(unreadable)?))
    };
    let session = client.import(body).await?.session_id;
    out::line(format!("session {session} is here; see it with `mgx events {session}`"));
    Ok(ExitCode::SUCCESS)
}
