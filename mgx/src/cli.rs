//! The command line: every command, and what each needs before it can run.

mod accounts;
mod bench;
mod credentials;
mod ids;
mod jobs;
mod machine;
mod out;
mod pools;
mod serve;
mod server;
mod sessions;
mod threads;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, Inputs, Loaded, Problems};
use crate::version::version;
use accounts::login;
use jobs::{cancel, explain, ps, timeline};
use machine::{backup, doctor, images, store};
use out::{Failure, Outcome};
use serve::{down, up};
use server::Server;
use sessions::{events, export, files, list, messages, run};

/// Under this title, the options of every command stand apart from a command's own.
const GLOBAL: &str = "Global options";

const EXAMPLES: &str = "\
Examples:
  mgx up --detach                   start the server in the background
  mgx run \"A page for a bakery\"     let the agents work, and watch them
  mgx ps                            list the jobs that wait or run
  mgx session list                  list the sessions
  mgx files SESSION --to DIR        fetch what the agents have written
  mgx events SESSION --follow       watch a session again
  mgx explain JOB                   what a job waits for, and what would help
  mgx doctor                        what is wrong with this machine, and how to fix it
  mgx config --default > mgx.toml   a settings file to edit, with every default

Exit codes: 0 success, 1 failure, 2 wrong usage, 78 wrong configuration;
`run` also has 124 timed out, and 130 cancelled or left running.";

/// A self-hosted platform on which teams of LLM agents build web apps in containers.
#[derive(Debug, Parser)]
#[command(name = "mgx", version, after_help = EXAMPLES, max_term_width = 110, propagate_version = false)]
struct Cli {
    /// Read settings from this file; by default from `MGX_CONFIG`, else `./mgx.toml`, else `/etc/mgx/mgx.toml`.
    #[arg(long, global = true, value_name = "PATH", help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Run jobs with this runtime, instead of the setting `runtime`.
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBAL)]
    runtime: Option<String>,
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server, in the foreground or in the background.
    #[command(visible_alias = "serve")]
    Up(up::Args),
    /// Stop the server that runs in the background. Containers go on running, and the next start takes their jobs up.
    Down,
    /// Let the agents work on a prompt, and watch them.
    #[command(after_help = run::EXAMPLES)]
    Run(run::Args),
    /// Continue a job that has failed, timed out or was cancelled, from its last message.
    Continue(run::ContinueArgs),
    /// List the jobs that wait or run.
    Ps(ps::Args),
    /// List the sessions, and what is in them.
    #[command(subcommand, visible_alias = "sessions")]
    Session(sessions::Command),
    /// List, print or fetch the files of a session.
    #[command(after_help = files::EXAMPLES)]
    Files(files::Args),
    /// Show the conversation of a session.
    Messages(messages::Args),
    /// Show the events of a session.
    Events(events::Args),
    /// Print everything about a session but its files, as lines of JSON for `mgx import`.
    Export(export::Args),
    /// Import a session that was exported.
    Import(export::ImportArgs),
    /// Show what a job waits for, which jobs hold that, how long it will take, and what would help.
    Explain(explain::Args),
    /// Show where the time of a job went.
    Timeline(timeline::Args),
    /// Show the warm pools: what waits, how often it was used, what it saved and cost.
    Pools(pools::Args),
    /// Cancel jobs that wait or run.
    Cancel(cancel::Args),
    /// Sign in with a browser. The other commands then act as that user.
    Login(login::Args),
    /// Sign out, and revoke the token of the login.
    Logout,
    /// Add, list and change the users who may sign in (for administrators).
    #[command(subcommand)]
    User(accounts::user::Command),
    /// Add, list and change the OAuth 2 clients: programs that users sign in to (for administrators).
    #[command(subcommand)]
    Client(accounts::client::Command),
    /// Make, list and revoke API tokens, which programs use instead of a password.
    #[command(subcommand)]
    Token(accounts::token::Command),
    /// Check this machine, and say how to fix what is wrong.
    Doctor(doctor::Args),
    /// Show every setting, and where its value comes from.
    Config(machine::config::Args),
    /// Write everything that the platform keeps into one file, also while it runs. The file holds secrets.
    Backup(backup::Args),
    /// Restore a backup into an empty data directory.
    Restore(backup::RestoreArgs),
    /// Copy everything that the platform keeps into another store.
    #[command(subcommand)]
    Store(store::Command),
    /// Build the platform's image for jobs, unless the engine has it.
    Images(images::Args),
    /// Measure latency, throughput, fairness and memory.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the version, and which build it is.
    Version,
}

impl Command {
    /// Whether the command starts containers or asks models by itself, and so needs every setting of theirs.
    fn starts_jobs(&self) -> bool {
        match self {
            Self::Up(_) | Self::Images(_) | Self::Bench(_) => true,
            Self::Down
            | Self::Run(_)
            | Self::Continue(_)
            | Self::Ps(_)
            | Self::Session(_)
            | Self::Files(_)
            | Self::Messages(_)
            | Self::Events(_)
            | Self::Export(_)
            | Self::Import(_)
            | Self::Explain(_)
            | Self::Timeline(_)
            | Self::Pools(_)
            | Self::Cancel(_)
            | Self::Login(_)
            | Self::Logout
            | Self::User(_)
            | Self::Client(_)
            | Self::Token(_)
            | Self::Doctor(_)
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Config(_)
            | Self::Store(_)
            | Self::Completions { .. }
            | Self::Version => false,
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // TLS takes its cryptography from ring; an error means that a provider is installed already
    rustls::crypto::ring::default_provider().install_default().ok();
    out::decide_on_colours();
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(Failure { code, message }) => {
            out::note(format_args!("mgx: {message}"));
            ExitCode::from(code)
        }
    }
}

fn dispatch(cli: Cli) -> Outcome {
    match &cli.command {
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "mgx", &mut text);
            out::line(String::from_utf8_lossy(&text).trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Version => {
            out::line(format_args!("mgx {}", version()));
            return Ok(ExitCode::SUCCESS);
        }
        Command::Config(args) => {
            if let Some(text) = args.fixed() {
                out::line(text.trim_end());
                return Ok(ExitCode::SUCCESS);
            }
        }
        Command::Up(_)
        | Command::Down
        | Command::Run(_)
        | Command::Continue(_)
        | Command::Ps(_)
        | Command::Session(_)
        | Command::Files(_)
        | Command::Messages(_)
        | Command::Events(_)
        | Command::Export(_)
        | Command::Import(_)
        | Command::Explain(_)
        | Command::Timeline(_)
        | Command::Pools(_)
        | Command::Cancel(_)
        | Command::Login(_)
        | Command::Logout
        | Command::User(_)
        | Command::Client(_)
        | Command::Token(_)
        | Command::Doctor(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Store(_)
        | Command::Images(_)
        | Command::Bench(_) => {}
    }
    let loaded = load(&cli)?;
    match cli.command {
        Command::Up(args) => up::run(loaded, &args),
        Command::Config(args) => Ok(machine::config::run(&loaded, &args)),
        Command::Bench(command) => bench::run(loaded.config, &command),
        command => asynchronous(command, &cli.server, &loaded),
    }
}

fn asynchronous(command: Command, server: &Server, loaded: &Loaded) -> Outcome {
    let config = &loaded.config;
    let client = || server.client(config);
    let workspaces = server.workspaces(config);
    let runtime = threads::current_thread()?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Run(args) => Box::pin(run::run(&client()?, workspaces, &args)).await,
            Command::Continue(args) => Box::pin(run::continue_job(&client()?, workspaces, &args)).await,
            Command::Messages(args) => messages::run(&client()?, &args).await,
            Command::Session(sessions::Command::List(args)) => list::run(&client()?, &args).await,
            Command::Session(sessions::Command::Files(args)) | Command::Files(args) => {
                Box::pin(files::run(&client()?, &args)).await
            }
            Command::Ps(args) => ps::run(&client()?, &args).await,
            Command::Events(args) => events::run(&client()?, &args).await,
            Command::Export(args) => export::run(&client()?, &args).await,
            Command::Import(args) => export::import(&client()?, &args).await,
            Command::Explain(args) => explain::run(&client()?, &args).await,
            Command::Timeline(args) => timeline::run(&client()?, &args).await,
            Command::Pools(args) => pools::run(&client()?, &args).await,
            Command::Cancel(args) => cancel::run(&client()?, &args).await,
            Command::Login(args) => Box::pin(login::run(&server.address(config)?, &args)).await,
            Command::Logout => login::logout(&server.address(config)?).await,
            Command::User(command) => accounts::user::run(&client()?, &command).await,
            Command::Client(command) => accounts::client::run(&client()?, &command).await,
            Command::Token(command) => accounts::token::run(&client()?, &command).await,
            Command::Doctor(args) => Box::pin(doctor::run(loaded, &args)).await,
            Command::Backup(args) => Box::pin(backup::run(config, &args)).await,
            Command::Restore(args) => Box::pin(backup::restore(config, &args)).await,
            Command::Store(command) => Box::pin(store::run(config, &command)).await,
            Command::Images(args) => images::run(config, &args).await,
            Command::Down => down::run(config).await,
            Command::Up(_)
            | Command::Config(_)
            | Command::Bench(_)
            | Command::Completions { .. }
            | Command::Version => Ok(ExitCode::SUCCESS),
        }
    });
    // otherwise a question that is still open on standard input would have to be answered first
    runtime.shutdown_background();
    outcome
}

fn load(cli: &Cli) -> Result<Loaded, Failure> {
    let flag = |name: &str, key: &str, value: String| (name.to_owned(), key.to_owned(), value);
    let mut flags = Vec::new();
    flags.extend(cli.runtime.iter().map(|name| flag("--runtime", "runtime", name.clone())));
    if let Command::Up(args) = &cli.command {
        flags.extend(args.listen.iter().map(|listen| flag("--listen", "server.listen", listen.clone())));
        flags.extend(args.roles.iter().map(|roles| flag("--roles", "server.roles", roles.clone())));
        flags.extend(args.data_dir.iter().map(|dir| flag("--data-dir", "server.data_dir", dir.clone())));
    }
    let inputs = Inputs::of_process(cli.config.clone(), flags)
        .map_err(|error| Failure::new(format!("there is no working directory: {error}")))?;
    let refused = |problems: Problems| {
        Failure::with(config::EXIT, format!("the configuration is wrong, nothing was started\n{problems}"))
    };
    config::load(&inputs).or_else(|problems| {
        let Some(variables) = problems.of_shared_variables().filter(|_| !cli.command.starts_jobs()) else {
            return Err(refused(problems));
        };
        let without =
            inputs.env.iter().filter(|(name, _)| !variables.iter().any(|variable| name == variable.as_str()));
        let inputs = Inputs { env: without.cloned().collect(), ..inputs.clone() };
        let mut loaded = config::load(&inputs).map_err(refused)?;
        loaded.left_out = problems.0;
        Ok(loaded)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
