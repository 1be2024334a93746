//! A load balancer for tests: a TCP connection goes to one process after the other, and never to one that is away. Or a
//! real haproxy, with the configuration of `docs/deployment.md`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::client::http;

/// How long a haproxy may take until it has seen a process that is ready.
const START: Duration = Duration::from_secs(10);

/// A balancer; it ends when this is dropped.
#[derive(Debug)]
pub struct Balancer {
    url: String,
    _running: Running,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for their ends")]
enum Running {
    Ours(AbortOnDropHandle<()>),
    Haproxy(Haproxy),
}

impl Balancer {
    /// A balancer in front of the servers at `urls`: the haproxy that `MGX_TEST_HAPROXY` names, if it names one.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn before(urls: &[&str]) -> Result<Self> {
        let address = |url: &&str| url.trim_start_matches("http://").parse::<SocketAddr>();
        let servers: Vec<_> = urls.iter().map(address).collect::<Result<_, _>>()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
        let listens = listener.local_addr()?;
        let url = format!("http://{listens}");
        let running = if let Some(program) = std::env::var_os("MGX_TEST_HAPROXY") {
            drop(listener);
            let haproxy = Haproxy::start(&PathBuf::from(program), listens, &servers)?;
            haproxy.answers(&url).await?;
            Running::Haproxy(haproxy)
        } else {
            Running::Ours(AbortOnDropHandle::new(tokio::spawn(accept(listener, servers))))
        };
        Ok(Self { url, _running: running })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

async fn accept(listener: TcpListener, servers: Vec<SocketAddr>) {
    let (servers, next) = (Arc::new(servers), Arc::new(AtomicUsize::new(0)));
    while let Ok((mut client, _)) = listener.accept().await {
        let (servers, next) = (servers.clone(), next.clone());
        tokio::spawn(async move {
            for _ in 0..servers.len() {
                let pick = next.fetch_add(1, Ordering::Relaxed) % servers.len();
                if let Ok(mut server) = TcpStream::connect(servers[pick]).await {
                    copy_bidirectional(&mut client, &mut server).await.ok();
                    return;
                }
            }
        });
    }
}

/// A haproxy and its configuration.
#[derive(Debug)]
struct Haproxy {
    child: Child,
    _dir: TempDir,
}

impl Haproxy {
    fn start(program: &Path, listens: SocketAddr, servers: &[SocketAddr]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("mgx-").tempdir()?;
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, documented(listens, servers)?)?;
        let mut haproxy = Command::new(program);
        haproxy.args(["-db", "-f"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = haproxy.stderr(Stdio::null()).spawn().context("cannot start haproxy")?;
        Ok(Self { child, _dir: dir })
    }

    async fn answers(&self, url: &str) -> Result<()> {
        let end = Instant::now() + START;
        let ready = format!("{url}/readyz");
        while !http().get(&ready).send().await.is_ok_and(|answer| answer.status() == 200) {
            ensure!(Instant::now() < end, "haproxy lets nobody through");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The configuration that `docs/deployment.md` shows, with other addresses.
fn documented(listens: SocketAddr, servers: &[SocketAddr]) -> Result<String> {
    let docs = include_str!("../../docs/deployment.md");
    let (_, begun) = docs.split_once("# haproxy.cfg\n").context("no haproxy.cfg in docs/deployment.md")?;
    let (shown, _) = begun.split_once("```").context("it does not end")?;
    let mut config = String::new();
    for line in shown.lines().filter(|line| !line.trim_start().starts_with("server ")) {
        let bind = line.trim_start().starts_with("bind ");
        writeln!(config, "{}", if bind { format!("  bind {listens}") } else { line.to_owned() })?;
    }
    for (number, server) in (1..).zip(servers) {
        writeln!(config, "  server mgx-{number} {server}")?;
    }
    Ok(config)
}
