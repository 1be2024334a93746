//! Readers whose connections are cut anywhere, while the server is killed too, see every event once and in order: the Rust
//! client, `eventsource` in Node, and the Python example. The last two are skipped where they are not installed (`just judge
//! cuts` installs them).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mgx_client::{Client, Feed, Item};
use mgx_testkit::{CuttingProxy, Server};
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;

/// The events of the agent; the platform adds a few.
const EVENTS: u64 = 3000;

/// A connection is cut after fewer bytes than this.
const MAX_BYTES_BEFORE_CUT: u64 = 16 * 1024;

/// How long one pass through the log may take.
const PASS_TIMEOUT: Duration = Duration::from_mins(3);

/// How long the server runs between two kills, when there are many cuts.
const UPTIME: Duration = Duration::from_secs(5);

/// The implementation of a reader.
#[derive(Clone, Copy, Debug)]
enum Reader {
    Rust,
    Node,
    Python,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_cut_anywhere_sees_every_event_once() -> Result<()> {
    let cuts: u32 = std::env::var("MGX_CUTS").ok().map_or(Ok(200), |cuts| cuts.parse())?;
    let must_have_all = std::env::var_os("MGX_CUTS").is_some();
    let settings = "runtime = \"null\"\nlog.level = \"warn\"";
    let mut server = Server::start(settings, &[]).await?;
    let session = server.client().session("nextjs").await?;
    // the first reader begins while the events are being sent
    server
        .client()
        .submit(&session, &json!({ "command": ["say", EVENTS.to_string(), "100", "2000"] }))
        .await?;
    let mut readers = vec![Reader::Rust];
    for reader in [Reader::Node, Reader::Python] {
        if reader.is_installed().await {
            readers.push(reader);
        } else {
            ensure!(!must_have_all, "{reader:?} is not installed: `just judge cuts` installs it");
        }
    }
    let each = cuts / u32::try_from(readers.len())?;
    for (seed, reader) in (1..).zip(readers) {
        let address = server.url().trim_start_matches("http://").parse()?;
        let proxy = CuttingProxy::in_front_of(address, each, MAX_BYTES_BEFORE_CUT, seed).await?;
        let token = server.token()?;
        let mut passes = 0;
        let reading = async {
            while passes == 0 || proxy.cuts_left() > 0 {
                let ids =
                    tokio::time::timeout(PASS_TIMEOUT, reader.read(&proxy.url(), &session, &token)).await;
                let ids = ids.with_context(|| format!("{reader:?} does not come to the end"))??;
                let last = ids.last().copied().unwrap_or_default();
                ensure!(last > EVENTS, "{reader:?} has read to {last} only");
                ensure!(ids == (1..=last).collect::<Vec<_>>(), "{reader:?} has gaps or repeats: {ids:?}");
                passes += 1;
            }
            Ok(())
        };
        let killing = async {
            if cuts < 1000 {
                return std::future::pending().await;
            }
            loop {
                tokio::time::sleep(UPTIME).await;
                server.kill()?;
                server.up().await?;
            }
        };
        tokio::select! {
            read = reading => read?,
            killed = killing => { let killed: Result<()> = killed; killed? }
        }
        ensure!(proxy.cuts_left() == 0);
        eprintln!("{reader:?}: {each} cuts in {passes} passes through the log, every id once");
    }
    let answer = server.client().request(reqwest::Method::GET, &format!("/api/sessions/{session}/events"));
    let last = server.client().until_finish(&session).await?.last().map_or(0, |frame| frame.id);
    let answer = answer.header("last-event-id", last).send().await?;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "after the last one there is nothing");
    Ok(())
}

/// The example is at least valid Python, where there is no httpx to run it with.
#[tokio::test]
async fn the_python_example_can_be_read() -> Result<()> {
    let source = root().join("docs/examples/follow.py");
    let read = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
    let read = python().args(["-c", read]).arg(source).status().await;
    if let Ok(status) = read {
        ensure!(status.success(), "docs/examples/follow.py is no Python");
    }
    Ok(())
}

impl Reader {
    async fn is_installed(self) -> bool {
        let mut probe = match self {
            Self::Rust => return true,
            Self::Node => {
                let module = clients().join("node_modules/eventsource");
                if !module.is_dir() {
                    return false;
                }
                let mut node = Command::new("node");
                node.arg("--version");
                node
            }
            Self::Python => {
                let mut python = python();
                python.args(["-c", "import httpx"]);
                python
            }
        };
        let probed = probe.stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        probed.is_ok_and(|status| status.success())
    }

    /// The ids of all events of the session, in the order in which they came.
    async fn read(self, url: &str, session: &str, token: &str) -> Result<Vec<u64>> {
        let mut command = match self {
            Self::Rust => return read(url, session, token).await,
            Self::Node => {
                let mut node = Command::new("node");
                node.arg(root().join("tests/clients/eventsource.mjs")).env("MGX_NODE_MODULES", clients());
                node
            }
            Self::Python => {
                let mut python = python();
                python.arg(root().join("docs/examples/follow.py"));
                python
            }
        };
        let output = command.args([url, session]).env("MGX_TOKEN", token).kill_on_drop(true).output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{self:?} ended with {}: {said}", output.status);
        let ids = std::str::from_utf8(&output.stdout)?.lines();
        ids.map(|line| Ok(line.split(' ').next().unwrap_or_default().parse()?)).collect()
    }
}

async fn read(url: &str, session: &str, token: &str) -> Result<Vec<u64>> {
    let client = Client::new(url, token.to_owned().into())?;
    let mut feed = Feed::new(&client, session.parse()?, 0);
    let mut ids = Vec::new();
    loop {
        match feed.next().await? {
            Item::Event(event) => ids.push(event.seq),
            Item::Lost | Item::Back => {}
            Item::Trimmed { oldest } => ids.push(oldest),
            Item::Finished => return Ok(ids),
        }
    }
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", clients().join("python"));
    python
}

fn clients() -> PathBuf {
    root().join("target/tools/clients")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
