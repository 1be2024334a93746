//! A thousand connections that are slow on purpose do not slow down a healthy client.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_testkit::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// The slow connections, and how many of them come from one address: fewer than are allowed.
const SLOW: usize = 1000;
const PER_ADDRESS: usize = 200;

/// Between the beginnings of two slow connections, so that they do not act at the same moments.
const STAGGER: Duration = Duration::from_millis(10);

/// Between two requests of the healthy client.
const REQUEST_INTERVAL: Duration = Duration::from_millis(1);

/// How a connection is slow.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Sends its head byte by byte.
    Head,
    /// Promises a body and sends it byte by byte.
    Body,
    /// Requests much, and reads none of it.
    Reader,
    /// Sends nothing at all.
    Silent,
}

/// How long it goes on: a minute, or `MGX_SLOW_SECONDS`.
fn how_long() -> Duration {
    let seconds = std::env::var("MGX_SLOW_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes more than a minute; `just judge slow` runs it"]
async fn a_thousand_slow_connections_do_not_slow_down_the_others() -> Result<()> {
    let server = Server::start("runtime = \"null\"", &[]).await?;
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    let token = server.token()?;
    // as long without them as with them, half of it before and half after: what else the machine does, and how it
    // changes, is in both
    let mut alone = apart(&server, how_long() / 2).await?;
    let (mut slow, cut) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let manners = [Manner::Head, Manner::Body, Manner::Reader, Manner::Silent];
    for index in 0..SLOW {
        slow.spawn(be_slow(address, index, manners[index % manners.len()], token.clone(), cut.clone()));
    }
    wait_for_open_files(&server, |open| open >= SLOW * 9 / 10).await?;
    let beside = apart(&server, how_long()).await?;
    slow.shutdown().await;
    wait_for_open_files(&server, |open| open < SLOW / 10).await?;
    alone.add(apart(&server, how_long() / 2).await?);
    let cut = cut.load(Ordering::Relaxed);
    println!("alone:  {alone}\nbeside: {beside}\n{SLOW} slow connections, {cut} times the server closed one");
    assert_eq!((alone.failed, beside.failed), (0, 0), "no request is refused or answered with 5xx");
    let (without, with) = (alone.at(99), beside.at(99));
    assert!(with <= without * 2, "p99 {with:?} is more than twice {without:?}");
    Ok(())
}

/// Waits until the number of files and connections that the server has open satisfies `is_enough`.
async fn wait_for_open_files(server: &Server, is_enough: impl Fn(usize) -> bool) -> Result<()> {
    let files = format!("/proc/{}/fd", server.pid().context("the server runs")?);
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let open = std::fs::read_dir(&files)?.count();
        if is_enough(open) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "the server has {open} files open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a healthy client saw.
#[derive(Debug, Default)]
struct Seen {
    /// How long each answer took.
    times: Vec<Duration>,
    /// How many were not 200.
    failed: usize,
    /// How long the server used a processor meanwhile, and how long that was.
    busy: Duration,
    lasted: Duration,
}

impl Seen {
    fn add(&mut self, more: Self) {
        self.times.extend(more.times);
        self.failed += more.failed;
        self.busy += more.busy;
        self.lasted += more.lasted;
    }

    /// The percentile.
    fn at(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, busy) = (self.times.len(), 100.0 * self.busy.as_secs_f64() / self.lasted.as_secs_f64());
        write!(f, "p50 {:?}, p90 {:?}, p99 {:?}", self.at(50), self.at(90), self.at(99))?;
        write!(f, " of {count} answers; the server used {busy:.1} % of a processor")
    }
}

/// A healthy client in a thread of its own: it does not wait for the slow ones on this side either.
async fn apart(server: &Server, time: Duration) -> Result<Seen> {
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    let token = server.token()?;
    let before = server.cpu_time()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = tokio::task::spawn_blocking(move || runtime.block_on(healthy(address, &token, time)));
    let (times, failed) = asked.await??;
    Ok(Seen { times, failed, busy: server.cpu_time()?.saturating_sub(before), lasted: time })
}

/// Asks on a connection of its own, again and again; how long each answer took, and how many were not 200.
async fn healthy(address: SocketAddr, token: &str, time: Duration) -> Result<(Vec<Duration>, usize)> {
    let request =
        format!("GET /api/sessions?limit=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (end, mut times, mut failed) = (Instant::now() + time, Vec::new(), 0);
    while Instant::now() < end {
        let began = Instant::now();
        socket.write_all(request.as_bytes()).await?;
        let answer = answer(&mut socket).await?;
        times.push(began.elapsed());
        failed += usize::from(!answer.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(REQUEST_INTERVAL).await;
    }
    ensure!(!times.is_empty(), "no answer at all");
    Ok((times, failed))
}

/// One answer that says how long it is.
pub(crate) async fn answer(socket: &mut TcpStream) -> Result<String> {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut piece).await?;
        ensure!(count > 0, "closed after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..count]);
        let so_far = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// Is slow until the server closes the connection, then begins anew; `cut` counts the closed connections.
async fn be_slow(address: SocketAddr, index: usize, manner: Manner, token: String, cut: Arc<AtomicUsize>) {
    let from = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index / PER_ADDRESS).unwrap_or(2));
    tokio::time::sleep(STAGGER * u32::try_from(index).unwrap_or_default()).await;
    let head = format!("host: x\r\nauthorization: Bearer {token}\r\n");
    loop {
        let Ok(mut socket) = connect(from.into(), address).await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let begun = match manner {
            Manner::Head => "GET /api/sessions HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned(),
            Manner::Body => format!(
                "POST /api/sessions HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: 100000\r\n\r\n"
            ),
            Manner::Reader => format!("GET /openapi.json HTTP/1.1\r\n{head}\r\n").repeat(50),
            Manner::Silent => String::new(),
        };
        let mut alive = socket.write_all(begun.as_bytes()).await.is_ok();
        while alive {
            tokio::time::sleep(Duration::from_secs(1)).await;
            alive = match manner {
                Manner::Head | Manner::Body => socket.write_all(b" ").await.is_ok(),
                Manner::Reader | Manner::Silent => !is_closed(&socket),
            };
        }
        cut.fetch_add(1, Ordering::Relaxed);
    }
}

async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Whether the server has closed the connection.
fn is_closed(socket: &TcpStream) -> bool {
    let mut byte = [0; 1];
    socket.try_read(&mut byte).is_ok_and(|count| count == 0)
}
