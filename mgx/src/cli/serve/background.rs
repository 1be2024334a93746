//! A server in the background: started, waited for until it is ready, and found again.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cli::out::{self, Failure, Outcome};
use crate::cli::server::Client;
use crate::config::{self, Config};
use crate::data_dir::{self, Holder};

/// How long the server may take to answer at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the server may answer without being ready before this command returns: the engine may be away for long.
const NOT_READY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the server is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);

/// Starts the server of `config`, unless it runs already, and waits until it is ready. `model` is the default model that was
/// chosen for this start.
pub(super) async fn start(config: &Config, model: Option<&str>) -> Outcome {
    let client = Client::new(&config.local_url(), String::new().into())?;
    let began = Instant::now();
    if let Some(Holder { pid, address }) = running_server(config)? {
        let url = config::local_url(address.unwrap_or(config.server.listen));
        out::line(format_args!("{url}  already up (process {pid})"));
        return Ok(ExitCode::SUCCESS);
    }
    if client.readiness().await.is_some() {
        let message =
            format!("another server answers at {}; set server.listen to another port", client.base());
        return Err(Failure::new(message));
    }
    let mut child = spawn(config, model)?;
    let output = child.stdout.take().map(|stdout| tokio::task::spawn_blocking(|| welcome(stdout)));
    let show_welcome = async || {
        let output = output.map(|output| tokio::time::timeout(ANSWER_TIMEOUT, output));
        if let Some(Ok(Ok(Some(line)))) = futures_util::future::OptionFuture::from(output).await {
            out::line(line);
        }
    };
    let mut answered = None;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let code = u8::try_from(status.code().unwrap_or(1)).unwrap_or(1);
            return Err(Failure::with(
                code.max(1),
                format!("the server ended at once:\n{}", end_of_log(config)),
            ));
        }
        match client.readiness().await {
            Some((true, _)) => {
                show_welcome().await;
                out::line(format_args!("{}  ready after {} ms", client.base(), began.elapsed().as_millis()));
                return Ok(ExitCode::SUCCESS);
            }
            Some((false, why)) => {
                let since = *answered.get_or_insert_with(Instant::now);
                if since.elapsed() > NOT_READY_TIMEOUT {
                    show_welcome().await;
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
            None if began.elapsed() > ANSWER_TIMEOUT => {
                let message = format!(
                    "no answer after {} s; its log ends with\n{}",
                    ANSWER_TIMEOUT.as_secs(),
                    end_of_log(config)
                );
                return Err(Failure::new(message));
            }
            None => {}
        }
        sleep(READY_POLL).await;
    }
}

/// The process that serves this configuration's data directory, if one does.
pub(super) fn running_server(config: &Config) -> Result<Option<Holder>, Failure> {
    data_dir::server(&config.server.data_dir, &config.process()).map_err(|error| {
        let dir = config.server.data_dir.display();
        Failure::new(format!("cannot look into {dir}: {error}; run this as the user that the server runs as"))
    })
}

fn spawn(config: &Config, model: Option<&str>) -> Result<Child, Failure> {
    let dir = &config.server.data_dir;
    let failed = |error: io::Error| Failure::new(format!("cannot start in the background: {error}"));
    data_dir::make(dir).map_err(failed)?;
    let log = data_dir::log(dir, &config.process()).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    // the same command line, so that the child reads the same configuration
    let same = std::env::args_os().skip(1).filter(|arg| arg != "--detach" && arg != "-d");
    command.args(same).arg("--background");
    command.envs(model.map(|model| ("MGX_AGENTS__DEFAULT_MODEL", model)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn().map_err(failed)
}

/// The line that a server prints before its address: at its first start only, the password of the administrator.
fn welcome(stdout: ChildStdout) -> Option<String> {
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    lines.next().filter(|line| !line.starts_with("http://"))
}

/// The last lines of the server's log.
fn end_of_log(config: &Config) -> String {
    let read = || {
        let mut file = std::fs::File::open(data_dir::log_path(&config.server.data_dir, &config.process()))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut text = Vec::new();
        file.take(4096).read_to_end(&mut text)?;
        io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = out::harmless(&read().unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
