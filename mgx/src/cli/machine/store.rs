//! `mgx store migrate`: copy everything that the platform keeps into another store.

use std::path::Path;
use std::process::ExitCode;

use mgx_store::EmbeddedTarget;
use mgx_store::MongoDbTarget;
use mgx_store::migrate::{Progress, Source, Target, migrate};
use secrecy::{ExposeSecret, SecretString};

use crate::cli::out::{self, Failure, Outcome};
use crate::config::Config;
use crate::store::Store;

/// What to do with the store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Copy everything into an empty store, read it back and compare. No server may be running.
    ///
    /// Sessions, jobs, events, idempotency keys and accounts are copied with the name of the platform, so that a server
    /// on the new store takes up what runs in containers. The old store stays as it is. An interrupted copy cannot be
    /// used; the same command starts again from the beginning.
    Migrate(Args),
}

/// Where to copy to.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The address of a MongoDB server (`mongodb://…`), or the path of a file that does not exist yet.
    #[arg(long, env = "MGX_MIGRATE_TO", hide_env_values = true, value_name = "URL|PATH")]
    to: SecretString,
    /// The database on that server; by default `store.database`.
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(config: &Config, command: &Command) -> Outcome {
    let Command::Migrate(args) = command;
    let from = Store::open(config).await.map_err(|error| Failure::new(format!("{error:#}")))?;
    let copied = copy(config, args, &from).await;
    from.close().await;
    copied.map_err(|error| Failure::new(format!("nothing was migrated: {error}")))?;
    out::note("migrated; the old store stays as it was");
    Ok(ExitCode::SUCCESS)
}

async fn copy(config: &Config, args: &Args, from: &Store) -> Result<(), String> {
    if let Store::MongoDb(shared) = from {
        shared.lead_for_copy().await?;
    }
    let source: &dyn Source = match from {
        Store::Embedded(store) => &**store,
        Store::MongoDb(store) => &**store,
    };
    let to = args.to.expose_secret();
    let target: Box<dyn Target> = if to.starts_with("mongodb://") || to.starts_with("mongodb+srv://") {
        let database = args.database.as_ref().unwrap_or(&config.store.database);
        Box::new(MongoDbTarget::begin(to, database, source.instance()).await?)
    } else {
        Box::new(EmbeddedTarget::begin(Path::new(to), source.instance()).await?)
    };
    migrate(source, target, &mut |progress| match progress {
        Progress::Copied(part, count) => out::note(format_args!("{count} {} …", part.name())),
        Progress::Verified(part, tally) => out::line(format_args!("{:<14} {tally} verified", part.name())),
    })
    .await
}
