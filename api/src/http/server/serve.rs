//! The accept loop: HTTP/1.1 on a TCP listener, with the bounds that a server on the internet needs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::connection::{Answer, ConnectionTimeouts, Phase, TimedSocket};
use super::proxies::Proxies;

/// How long connections that came after the shutdown began may delay it, when all others have been answered.
const LATE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many bytes of a request or an answer one connection buffers, besides the piece that is being written.
const BUFFER_BYTES: usize = 64 * 1024;

/// How many bytes of an answer the kernel buffers for a client that does not read; the kernel doubles the value. Its
/// default is megabytes per connection.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// The limits of the server's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// Connections at a time; more are closed at once.
    pub max_connections: usize,
    /// Connections at a time from one address that is not a trusted proxy; more are closed at once.
    pub max_per_ip: usize,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub proxies: Proxies,
    /// Header fields of a request; more are answered with 431.
    pub max_headers: usize,
    /// Bytes of a request's head; more are answered with 431.
    pub max_header_bytes: usize,
    /// How long a connection may stay without a byte.
    pub timeouts: ConnectionTimeouts,
    /// How long answers may still take after the shutdown began.
    pub drain: Duration,
}

impl ServeConfig {
    /// The limits that suit most installations: 4096 connections, 256 of one address, heads of 100 fields and 32 KiB within 10 s,
    /// 75 s between requests, 30 s without taking a byte, 10 s to drain.
    pub const fn standard() -> Self {
        Self {
            max_connections: 4096,
            max_per_ip: 256,
            proxies: Proxies::none(),
            max_headers: 100,
            max_header_bytes: 32 * 1024,
            timeouts: ConnectionTimeouts {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                stalled: Duration::from_secs(30),
            },
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then lets the answers under way end within `config.drain`. A
/// connection that comes during the shutdown is answered once: the router refuses new work by then.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, config: ServeConfig) {
    let mut open = Connections { tasks: JoinSet::new(), of_ip: HashMap::new(), config };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => open.accept(socket, peer, &router, &shutdown),
                Err(cause) => {
                    // no file descriptor left, most likely: wait for one instead of spinning
                    tracing::warn!(%cause, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = open.tasks.join_next() => open.forget(ended.ok()),
            () = shutdown.cancelled() => break,
        }
    }
    let drained = tokio::time::Instant::now() + open.config.drain;
    let mut under_way = std::mem::take(&mut open.tasks);
    loop {
        tokio::select! {
            ended = under_way.join_next() => if ended.is_none() { break },
            Ok((socket, peer)) = listener.accept() => open.accept(socket, peer, &router, &shutdown),
            Some(ended) = open.tasks.join_next() => open.forget(ended.ok()),
            () = tokio::time::sleep_until(drained) => break,
        }
    }
    drop(listener);
    let late = async { while open.tasks.join_next().await.is_some() {} };
    let limit = drained.min(tokio::time::Instant::now() + LATE_TIMEOUT);
    if tokio::time::timeout_at(limit, late).await.is_err() || !under_way.is_empty() {
        let connections = under_way.len() + open.tasks.len();
        tracing::warn!(connections, "connections are closed: server.drain has passed");
    }
    under_way.shutdown().await;
    open.tasks.shutdown().await;
}

/// The open connections.
struct Connections {
    tasks: JoinSet<IpAddr>,
    /// One reference per connection of the address, and one of the map itself.
    of_ip: HashMap<IpAddr, Arc<()>>,
    config: ServeConfig,
}

impl Connections {
    fn accept(&mut self, socket: TcpStream, peer: SocketAddr, router: &Router, shutdown: &CancellationToken) {
        let ip = peer.ip();
        let references = self.of_ip.entry(ip).or_default();
        let of_ip = Arc::strong_count(references) - 1;
        let is_too_many = of_ip >= self.config.max_per_ip && !self.config.proxies.contains(ip);
        if self.tasks.len() >= self.config.max_connections || is_too_many {
            tracing::debug!(%peer, of_ip, in_all = self.tasks.len(), "connection refused: too many");
            return self.forget(Some(ip));
        }
        let reference = references.clone();
        let connection = connection(socket, peer, router.clone(), shutdown.clone(), self.config.clone());
        self.tasks.spawn(async move {
            connection.await;
            drop(reference);
            ip
        });
    }

    /// A connection from `ip` has ended; `None`: one that panicked has.
    fn forget(&mut self, ip: Option<IpAddr>) {
        let is_unused = |references: &Arc<()>| Arc::strong_count(references) == 1;
        match ip {
            Some(ip) if self.of_ip.get(&ip).is_some_and(is_unused) => drop(self.of_ip.remove(&ip)),
            Some(_) => {}
            None => self.of_ip.retain(|_, references| !is_unused(references)),
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    config: ServeConfig,
) {
    socket.set_nodelay(true).ok();
    // a failure costs memory and nothing else
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES).ok();
    let is_late = shutdown.is_cancelled();
    let phase = Phase::default();
    let io = TokioIo::new(TimedSocket::new(socket, phase.clone(), config.timeouts));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let busy = phase.busy();
        let client = config.proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
        let answer = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answer.await?.map(|body| Answer::new(body, busy))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(!is_late)
        // TimedSocket has this timeout: hyper's would also run between two requests
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(config.max_headers)
        .max_header_size(config.max_header_bytes)
        .half_close(false)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        // a late connection is not told to shut down: hyper would close it before its first request
        () = shutdown.cancelled(), if !is_late => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(cause) = outcome {
        tracing::debug!(%peer, %cause, "connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server with short timeouts, and its address.
    async fn start(
        change: impl FnOnce(&mut ServeConfig),
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/who", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| from.ip().to_string()))
            .route(
                "/endless",
                get(async || {
                    let chunk = axum::body::Bytes::from(vec![b'x'; 65536]);
                    Body::from_stream(futures_util::stream::repeat_with(move || {
                        Ok::<_, Infallible>(chunk.clone())
                    }))
                }),
            )
            .route(
                "/stream",
                get(async || {
                    let chunks = ["retry: 1000\n", "id: 1\n\n"].map(Ok::<_, Infallible>);
                    Body::from_stream(futures_util::stream::iter(chunks))
                }),
            )
            .route("/never", get(async || std::future::pending::<()>().await));
        let mut config = ServeConfig::standard();
        config.timeouts = ConnectionTimeouts {
            head: Duration::from_secs(1),
            idle: Duration::from_mins(1),
            stalled: Duration::from_secs(1),
        };
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, shutdown.clone(), config));
        (address, shutdown, server)
    }

    /// All that comes until the server closes, at most 10 s.
    async fn rest(socket: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut bytes)).await;
        read.expect("the server closes").ok();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn one_answer(socket: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("hello") {
            let mut byte = [0; 512];
            let count = socket.read(&mut byte).await.unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&byte[..count]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn a_connection_answers_and_waits_for_the_next_request() {
        let (address, _shutdown, _server) = start(|_| {}).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(one_answer(&mut socket).await.starts_with("HTTP/1.1 200"));
            // longer than a head may take: between requests the idle timeout counts
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
    }

    #[tokio::test]
    async fn a_head_that_drips_is_cut() {
        let (address, _shutdown, _server) = start(|_| {}).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        one_answer(&mut second).await;
        for socket in [&mut first, &mut second] {
            let drip = async {
                while socket.write_all(b"G").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), drip)
                .await
                .expect("a byte now and then buys no time");
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_cut() {
        let (address, shutdown, server) = start(|config| config.drain = Duration::from_mins(1)).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        socket.readable().await.unwrap();
        shutdown.cancel();
        // the endless answer would hold up the shutdown for a minute
        tokio::time::timeout(Duration::from_secs(10), server)
            .await
            .expect("the stalled connection is cut")
            .unwrap();
    }

    #[tokio::test]
    async fn one_address_cannot_take_every_connection() {
        let (address, _shutdown, _server) = start(|config| config.max_per_ip = 2).await;
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            one_answer(&mut socket).await;
            sockets.push(socket);
        }
        assert_eq!(rest(&mut TcpStream::connect(address).await.unwrap()).await, "");
        let mut left = sockets.pop().unwrap();
        left.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(rest(&mut left).await.ends_with("hello"));
        // the server notices the end on its own time: until then it refuses
        for _ in 0..100 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok();
            if rest(&mut socket).await.ends_with("hello") {
                return;
            }
        }
        panic!("a closed connection makes no room for another");
    }

    #[tokio::test]
    async fn a_proxy_may_take_every_connection_and_its_forwarded_address_is_used() {
        let (address, _shutdown, _server) = start(|config| {
            config.max_per_ip = 1;
            config.proxies = "127.0.0.1".parse().unwrap();
        })
        .await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        one_answer(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        let head =
            "GET /who HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.5\r\nconnection: close\r\n\r\n";
        second.write_all(head.as_bytes()).await.unwrap();
        assert!(rest(&mut second).await.ends_with("203.0.113.5"));
    }

    #[tokio::test]
    async fn an_old_client_gets_a_stream_without_chunks() {
        let (address, _shutdown, _server) = start(|_| {}).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /stream HTTP/1.0\r\n\r\n").await.unwrap();
        let text = rest(&mut socket).await.to_ascii_lowercase();
        assert!(text.ends_with("\r\n\r\nretry: 1000\nid: 1\n\n"), "{text}");
        assert!(!text.contains("transfer-encoding"), "{text}");
    }

    #[tokio::test]
    async fn too_large_a_head_is_refused() {
        let (address, _shutdown, _server) = start(|_| {}).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(101));
        socket.write_all(head.as_bytes()).await.unwrap();
        assert!(rest(&mut socket).await.starts_with("HTTP/1.1 431"));
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(33 * 1024));
        socket.write_all(head.as_bytes()).await.ok();
        assert!(rest(&mut socket).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn a_connection_during_the_shutdown_is_answered_once() {
        let (address, shutdown, server) = start(|config| config.drain = Duration::from_secs(2)).await;
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        one_answer(&mut idle).await;
        shutdown.cancel();
        assert_eq!(rest(&mut idle).await, "", "an idle connection is closed");
        let mut late = TcpStream::connect(address).await.unwrap();
        late.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let answer = rest(&mut late).await.to_ascii_lowercase();
        assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
        tokio::time::timeout(Duration::from_secs(10), server).await.expect("it ends").unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "and then the port is closed");
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_does_not_hold_up_the_shutdown() {
        let (address, shutdown, server) = start(|config| config.drain = Duration::from_millis(200)).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        one_answer(&mut idle).await;
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), server).await.expect("it ends").unwrap();
    }
}
