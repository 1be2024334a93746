//! A load balancer in front of several processes of the platform: round robin over those that accept connections, or a
//! real haproxy with the configuration of `docs/deployment.md`.

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

/// How long haproxy may take until it has seen a process that is ready.
const HAPROXY_START_TIMEOUT: Duration = Duration::from_secs(10);

/// A balancer, which stops when this is dropped.
#[derive(Debug)]
pub struct Balancer {
    url: String,
    _running: Running,
}

#[derive(Debug)]
#[expect(dead_code, reason = "dropping it stops the balancer")]
enum Running {
    RoundRobin(AbortOnDropHandle<()>),
    Haproxy(Haproxy),
}

impl Balancer {
    /// Starts a balancer in front of the servers at `urls`: the haproxy whose path is in `MGX_TEST_HAPROXY`, if it is set.
    ///
    /// # Errors
    /// The balancer cannot listen, or haproxy finds no server that is ready.
    pub async fn in_front_of(urls: &[&str]) -> Result<Self> {
        let address = |url: &&str| url.trim_start_matches("http://").parse::<SocketAddr>();
        let servers: Vec<_> = urls.iter().map(address).collect::<Result<_, _>>()?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
        let listen = listener.local_addr()?;
        let url = format!("http://{listen}");
        let running = if let Some(program) = std::env::var_os("MGX_TEST_HAPROXY") {
            drop(listener);
            let haproxy = Haproxy::start(&PathBuf::from(program), listen, &servers)?;
            haproxy.wait_until_ready(&url).await?;
            Running::Haproxy(haproxy)
        } else {
            Running::RoundRobin(AbortOnDropHandle::new(tokio::spawn(accept(listener, servers))))
        };
        Ok(Self { url, _running: running })
    }

    /// Its base URL.
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

/// A haproxy process and the directory with its configuration.
#[derive(Debug)]
struct Haproxy {
    child: Child,
    _dir: TempDir,
}

impl Haproxy {
    fn start(program: &Path, listen: SocketAddr, servers: &[SocketAddr]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("mgx-").tempdir()?;
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, documented_config(listen, servers)?)?;
        let mut haproxy = Command::new(program);
        haproxy.args(["-db", "-f"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        let child = haproxy.stderr(Stdio::null()).spawn().context("cannot start haproxy")?;
        Ok(Self { child, _dir: dir })
    }

    async fn wait_until_ready(&self, url: &str) -> Result<()> {
        let end = Instant::now() + HAPROXY_START_TIMEOUT;
        let ready = format!("{url}/readyz");
        while !http().get(&ready).send().await.is_ok_and(|answer| answer.status() == 200) {
            ensure!(Instant::now() < end, "haproxy passes no request on to a server");
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
fn documented_config(listen: SocketAddr, servers: &[SocketAddr]) -> Result<String> {
    let docs = include_str!("../../../docs/deployment.md");
    let (_, begun) = docs.split_once("# haproxy.cfg\n").context("no haproxy.cfg in docs/deployment.md")?;
    let (shown, _) = begun.split_once("```").context("the code block in docs/deployment.md does not end")?;
    let mut config = String::new();
    for line in shown.lines().filter(|line| !line.trim_start().starts_with("server ")) {
        let bind = line.trim_start().starts_with("bind ");
        writeln!(config, "{}", if bind { format!("  bind {listen}") } else { line.to_owned() })?;
    }
    for (number, server) in (1..).zip(servers) {
        writeln!(config, "  server mgx-{number} {server}")?;
    }
    Ok(config)
}
