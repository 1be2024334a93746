//! The accept loop: HTTP/1.1, and HTTP/2 with prior knowledge, on a TCP listener, with the bounds that a server on the
//! internet needs.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
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

/// How many requests of one HTTP/2 connection are answered at a time.
const MAX_STREAMS: u32 = 64;

/// How many bytes of one request, and of all requests of an HTTP/2 connection, may arrive before they are read.
const WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// The first bytes of an HTTP/2 connection, and the pause before the rest of them is looked for.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_PAUSE: Duration = Duration::from_millis(5);

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
    /// The file to which the address of the first proxy is written that is not trusted, for `mgx doctor`.
    pub note: Option<PathBuf>,
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
            note: None,
        }
    }
}

/// Serves `router` on `listener` until `shutdown`, then lets the answers under way end within `config.drain`. A
/// connection that comes during the shutdown is answered once: the router refuses new work by then.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, config: ServeConfig) {
    let unknown_proxy = Arc::new(Once::new());
    let mut open = Connections { tasks: JoinSet::new(), of_ip: HashMap::new(), config, unknown_proxy };
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
    /// Whether a proxy that is not trusted has been reported.
    unknown_proxy: Arc<Once>,
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
        let unknown_proxy = self.unknown_proxy.clone();
        let connection =
            connection(socket, peer, router.clone(), shutdown.clone(), self.config.clone(), unknown_proxy);
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

/// Answers the requests of one connection: one after the other, or side by side if it speaks HTTP/2.
async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    config: ServeConfig,
    unknown_proxy: Arc<Once>,
) {
    socket.set_nodelay(true).ok();
    // a failure costs memory and nothing else
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES).ok();
    let is_late = shutdown.is_cancelled();
    let is_h2 = tokio::select! {
        begun = timeout(config.timeouts.head, begins_with_preface(&socket)) => match begun {
            Ok(is_h2) => is_h2,
            Err(_) => return,
        },
        () = shutdown.cancelled(), if !is_late => return,
    };
    let phase = if is_h2 { Phase::multiplexed() } else { Phase::default() };
    let io = TokioIo::new(TimedSocket::new(socket, phase.clone(), config.timeouts));
    let answers = phase.clone();
    let (timeouts, max_headers, max_header_bytes) =
        (config.timeouts, config.max_headers, config.max_header_bytes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let busy = phase.busy();
        let client = config.proxies.client(peer.ip(), request.headers());
        if config.proxies.is_unknown_proxy(peer.ip(), request.headers()) {
            unknown_proxy.call_once(|| report_unknown_proxy(peer.ip(), config.note.as_deref()));
        }
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client, peer.port())));
        let has_many_fields = request.headers().len() > config.max_headers;
        let router = router.clone();
        async move {
            let answer = if has_many_fields {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response()
            } else {
                router.oneshot(request).await?
            };
            Ok::<_, Infallible>(answer.map(|body| Answer::new(body, busy)))
        }
    });
    let outcome = if is_h2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(BUFFER_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .serve_connection(io, service);
        tokio::pin!(connection);
        let served = async {
            tokio::select! {
                outcome = connection.as_mut() => return outcome,
                () = shutdown.cancelled(), if !is_late => {}
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        };
        tokio::select! {
            outcome = served => outcome,
            () = answers.stalled(timeouts.stalled) => return tracing::debug!(%peer, "an answer is not taken"),
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(!is_late)
            // TimedSocket has this timeout: hyper's would also run between two requests
            .header_read_timeout(None)
            .max_buf_size(BUFFER_BYTES)
            .max_headers(max_headers)
            .max_header_size(max_header_bytes)
            .half_close(false)
            .serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            outcome = connection.as_mut() => outcome,
            // a late connection is not told to shut down: hyper would close it before its first request
            () = shutdown.cancelled(), if !is_late => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(cause) = outcome {
        tracing::debug!(%peer, %cause, "connection ended");
    }
}

/// Whether a connection begins with the preface of HTTP/2 (RFC 9113 section 3.4); reads nothing of it.
async fn begins_with_preface(socket: &TcpStream) -> bool {
    let mut begin = [0; PREFACE.len()];
    loop {
        let count = socket.peek(&mut begin).await.unwrap_or(0);
        if count == 0 || begin[..count] != PREFACE[..count] {
            return false;
        }
        if count == PREFACE.len() {
            return true;
        }
        // a peek returns at once as long as there is anything to read
        tokio::time::sleep(PREFACE_PAUSE).await;
    }
}

/// Says that a proxy is not trusted, in the log and in the file that `mgx doctor` reads.
fn report_unknown_proxy(peer: IpAddr, note: Option<&Path>) {
    tracing::warn!(
        %peer,
        "X-Forwarded-For from an address that is not in server.trusted_proxies is ignored: limits for each address count all \
         its clients as one; if it is your proxy, add it there"
    );
    if let Some(Err(cause)) = note.map(|file| std::fs::write(file, peer.to_string())) {
        tracing::debug!(%cause, "the note for mgx doctor is not written");
    }
}

#[cfg(test)]
mod h2_tests;
#[cfg(test)]
mod tests;
