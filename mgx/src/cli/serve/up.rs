//! `mgx up`: serve, in the foreground or in the background.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use mgx_apps::TokenKeyError;
use mgx_oauth2::KeyError;
use secrecy::ExposeSecret;

use super::{background, first_model};
use crate::cli::out::{self, Failure, Outcome};
use crate::cli::threads::{current_thread, serving_runtime};
use crate::config::{self, Config, Loaded};
use crate::data_dir;

use crate::server::{Serving, Signals, home, logging};
use crate::version;

/// How to serve.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Args {
    /// Serve in the background and log into the data directory; return when the server is ready.
    #[arg(long, short)]
    detach: bool,
    /// Listen on this address and port, instead of `server.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// What this process does, instead of `server.roles`: one or more of `api`, `scheduler` and `oauth2`, with commas
    /// between.
    #[arg(long, value_name = "ROLES")]
    pub(crate) roles: Option<String>,
    /// Use this data directory, instead of `server.data_dir`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// If the data directory is a copy of one that is still there, make it a platform of its own. Jobs of the original stay
    /// there; unfinished ones of the copy count as lost.
    #[arg(long)]
    new_instance: bool,
    /// Give up the jobs whose containers another runtime has (`runtime` was changed while they ran); without this, the
    /// server does not start.
    #[arg(long)]
    give_up_jobs: bool,
    /// Leave the terminal's session; `--detach` starts the server with this flag.
    #[arg(long, hide = true)]
    background: bool,
}

/// Serves, or makes sure that a server runs in the background.
pub(crate) fn run(mut loaded: Loaded, args: &Args) -> Outcome {
    // the process in the background has its model from the one that started it
    let model =
        if args.background { None } else { current_thread()?.block_on(first_model::choose(&mut loaded))? };
    if args.detach {
        version::build_notice().iter().for_each(out::note);
        return current_thread()?.block_on(background::start(&loaded.config, model.as_deref()));
    }
    if args.background {
        // fails only if this process leads its session already: then there is no terminal to leave
        rustix::process::setsid().ok();
    }
    logging::start(&loaded.config);
    for name in &loaded.ignored {
        tracing::warn!("{name} is set and has no effect");
    }
    if let Some(notice) = version::build_notice() {
        tracing::warn!("{notice}");
    }
    let served = serving_runtime()?.block_on(Box::pin(serve(loaded.config, args)));
    served.map(|()| ExitCode::SUCCESS).map_err(|error| {
        let code = if is_weak_secret(&error) { config::EXIT } else { 1 };
        Failure::with(code, format!("{error:#}"))
    })
}

/// Whether a key or token in the data directory is malformed, or others can read it: as wrong as a setting.
fn is_weak_secret(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(KeyError::Open(_) | KeyError::Malformed(_)))
            || matches!(cause.downcast_ref(), Some(TokenKeyError::Open | TokenKeyError::Malformed))
            || cause
                .downcast_ref()
                .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::InvalidData)
    })
}

async fn serve(mut config: Config, args: &Args) -> anyhow::Result<()> {
    let signals = Signals::of_this_process()?;
    config.gives_up_jobs_of_other_runtimes = args.give_up_jobs;
    if args.new_instance {
        let is_new = home::become_new_instance(&config).await?;
        tracing::info!(is_new, "--new-instance: a copy of another platform gets a name of its own");
    }
    // the OAuth 2 provider by itself has no administration, and takes no admin token
    let token = (!config.server.roles.are_the_providers_alone()).then(|| token_path(&config));
    let token = token.map(|path| format!("  (token in {path})")).unwrap_or_default();
    let mut serving = Serving::start(config).await?;
    let mut welcome = serving.take_first_password().map_or_else(String::new, |password| {
        format!(
            "sign in as admin with {}  (shown this once; mgx user passwd admin)\n",
            password.expose_secret()
        )
    });
    writeln!(welcome, "http://{}{token}", serving.address())?;
    if args.background {
        // `mgx up --detach` shows this if it still runs; if it has ended, the server goes on
        std::io::stdout().write_all(welcome.as_bytes()).ok();
    } else {
        out::line(welcome.trim_end());
    }
    serving.until(signals).await
}

fn token_path(config: &Config) -> String {
    config.server.data_dir.join(data_dir::TOKEN).display().to_string()
}
