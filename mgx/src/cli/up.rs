//! `mgx up`: serve, in the foreground or in the background.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use mgx_apps::TokenKeyError;
use mgx_oauth2::KeyError;
use secrecy::ExposeSecret;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::out::{self, Failure, Outcome};
use crate::config::{self, Config, Loaded};
use crate::data_dir;
use crate::logging;
use crate::serve::{Serving, Signals};

/// How long a server in the background may take to answer.
const START: Duration = Duration::from_secs(30);

/// How long it may answer without being ready before we stop waiting: the engine may be away.
const DEGRADED: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Goes on in the background, logging into the data directory; returns when it is ready.
    #[arg(long, short)]
    detach: bool,
    /// Address and port to listen on, instead of `server.listen`.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// What this process is there for, instead of `server.roles`: `api`, `scheduler`, `oauth2`, or several of them with
    /// commas between.
    #[arg(long, value_name = "ROLES")]
    pub(crate) roles: Option<String>,
    /// The data directory, instead of `server.data_dir`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
    /// Leaves the terminal: what `--detach` starts.
    #[arg(long, hide = true)]
    background: bool,
}

/// Serves, or makes sure that somebody does.
pub(crate) fn run(loaded: Loaded, args: &Args) -> Outcome {
    if args.detach {
        return current_thread()?.block_on(detach(&loaded.config, args));
    }
    if args.background {
        // Fails only for a process that leads its session already: nothing to leave.
        rustix::process::setsid().ok();
    }
    logging::start(&loaded.config);
    for name in &loaded.unused {
        tracing::warn!(name, "this variable is read, but not used yet");
    }
    let served = serving_runtime()?.block_on(Box::pin(serve(loaded.config, args.background)));
    served.map(|()| ExitCode::SUCCESS).map_err(|error| {
        let code = if is_weak_secret(&error) { config::EXIT } else { 1 };
        Failure::with(code, format!("{error:#}"))
    })
}

/// Whether a key or token in the data directory is none, or others can read it: as wrong as a setting.
fn is_weak_secret(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(KeyError::Open(_) | KeyError::Malformed(_)))
            || matches!(cause.downcast_ref(), Some(TokenKeyError::Open | TokenKeyError::Malformed))
            || cause
                .downcast_ref()
                .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::InvalidData)
    })
}

/// How long a thread that waits for blocking work lives without any. When one ends, the allocator gives back to the
/// system what has been free for a second: the memory that a password's hash took, and whatever a crowd did.
const IDLE: Duration = Duration::from_millis(1500);

/// The runtime of a server: one thread for each processor.
pub(crate) fn serving_runtime() -> Result<Runtime, Failure> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.max_blocking_threads(64).thread_keep_alive(IDLE);
    let runtime = runtime.enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start threads: {error}")))
}

/// The runtime of everything else.
pub(crate) fn current_thread() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))
}

async fn serve(config: Config, background: bool) -> anyhow::Result<()> {
    let signals = Signals::of_this_process()?;
    // nobody administrates at the provider alone
    let token = (!config.server.roles.are_the_providers_alone()).then(|| data_dir_of(&config));
    let token = token.map(|path| format!("  (token in {path})")).unwrap_or_default();
    let mut serving = Serving::start(config).await?;
    let mut said = serving.take_first_password().map_or_else(String::new, |password| {
        format!(
            "sign in as admin with {}  (shown this once; mgx user passwd admin)\n",
            password.expose_secret()
        )
    });
    writeln!(said, "http://{}{token}", serving.address())?;
    if background {
        // whoever started this shows it; if nobody does, we serve all the same
        std::io::stdout().write_all(said.as_bytes()).ok();
    } else {
        out::line(said.trim_end());
    }
    serving.until(signals).await
}

fn data_dir_of(config: &Config) -> String {
    config.server.data_dir.join(data_dir::TOKEN).display().to_string()
}

async fn detach(config: &Config, args: &Args) -> Outcome {
    let client = Client::new(&config.local_url(), String::new().into())?;
    let began = Instant::now();
    if let Some(pid) = server(config)? {
        out::line(format_args!("{}  already up (process {pid})", client.base()));
        return Ok(ExitCode::SUCCESS);
    }
    if client.readiness().await.is_some() {
        let message =
            format!("another server answers at {}; set server.listen to another port", client.base());
        return Err(Failure::new(message));
    }
    let mut child = spawn(config, args)?;
    let said = child.stdout.take().map(|stdout| tokio::task::spawn_blocking(|| first_words(stdout)));
    let welcome = async || {
        let said = said.map(|said| tokio::time::timeout(START, said));
        if let Some(Ok(Ok(Some(line)))) = futures_util::future::OptionFuture::from(said).await {
            out::line(line);
        }
    };
    let mut answered = None;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let code = u8::try_from(status.code().unwrap_or(1)).unwrap_or(1);
            return Err(Failure::with(
                code.max(1),
                format!("the server ended at once:\n{}", last_words(config)),
            ));
        }
        match client.readiness().await {
            Some((true, _)) => {
                welcome().await;
                out::line(format_args!("{}  ready after {} ms", client.base(), began.elapsed().as_millis()));
                return Ok(ExitCode::SUCCESS);
            }
            Some((false, why)) => {
                let since = *answered.get_or_insert_with(Instant::now);
                if since.elapsed() > DEGRADED {
                    welcome().await;
                    let why = serde_json::from_str::<serde_json::Value>(&why).unwrap_or_default();
                    let why =
                        why["detail"].as_str().or(why["title"].as_str()).unwrap_or("see its log").to_owned();
                    out::line(format_args!(
                        "{}  up, but not ready: {}",
                        client.base(),
                        out::short(&why, 200)
                    ));
                    out::note("jobs are accepted and wait; `mgx doctor` says what is missing");
                    return Ok(ExitCode::SUCCESS);
                }
            }
            None if began.elapsed() > START => {
                let message = format!(
                    "no answer after {} s; its log ends with\n{}",
                    START.as_secs(),
                    last_words(config)
                );
                return Err(Failure::new(message));
            }
            None => {}
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The process that serves this configuration's data directory.
pub(crate) fn server(config: &Config) -> Result<Option<u32>, Failure> {
    data_dir::server(&config.server.data_dir, &config.process()).map_err(|error| {
        let dir = config.server.data_dir.display();
        Failure::new(format!("cannot look into {dir}: {error}; run this as the user that the server runs as"))
    })
}

fn spawn(config: &Config, args: &Args) -> Result<Child, Failure> {
    let dir = &config.server.data_dir;
    let failed = |error: std::io::Error| Failure::new(format!("cannot start in the background: {error}"));
    data_dir::make(dir).map_err(failed)?;
    let log = data_dir::log(dir, &config.process()).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    // The same command line, so that the child reads the same configuration.
    let same = std::env::args_os().skip(1).filter(|arg| arg != "--detach" && arg != "-d");
    command.args(same).arg("--background");
    debug_assert!(args.detach, "only a server in the background is spawned");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().map_err(failed)
}

/// What a server in the background says before it says where it is: only the first one says anything.
fn first_words(stdout: ChildStdout) -> Option<String> {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    lines.next().filter(|line| !line.starts_with("http://"))
}

/// The end of the log.
fn last_words(config: &Config) -> String {
    let read = || {
        let mut file = std::fs::File::open(data_dir::log_path(&config.server.data_dir, &config.process()))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut text = Vec::new();
        file.take(4096).read_to_end(&mut text)?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = out::harmless(&read().unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
