//! Serves the proxy on tunnels: connections out of containers, which carry HTTP/1.1.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mgx_protocol::SlotId;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{LlmError, LlmProxy};

/// The limits of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLimits {
    /// Connections of one container at a time. Each serves one request at a time (HTTP/1.1).
    pub per_slot: usize,
    /// Connections of all containers at a time.
    pub total: usize,
    /// How long the head of a request may take to arrive, from the connection's beginning or the request before.
    pub header_timeout: Duration,
    /// How long requests may go on after the shutdown has begun.
    pub drain_timeout: Duration,
}

impl Default for TunnelLimits {
    fn default() -> Self {
        Self {
            per_slot: 16,
            total: 1024,
            header_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// The largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The most headers of a request.
const MAX_HEADERS: usize = 64;

/// How long a refusal may take to be written.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves `tunnels`, each with the slot of its container, until `shutdown` or until the stream ends. Requests that are
/// in flight then have [`TunnelLimits::drain_timeout`] to end.
pub async fn serve_tunnels(
    tunnels: impl Stream<Item = (SlotId, UnixStream)> + Send,
    proxy: LlmProxy,
    limits: TunnelLimits,
    shutdown: CancellationToken,
) {
    let open = OpenTunnels::default();
    let tasks = TaskTracker::new();
    let router = proxy.router();
    tokio::pin!(tunnels);
    while let Some((slot, stream)) = tokio::select! {
        tunnel = tunnels.next() => tunnel,
        () = shutdown.cancelled() => None,
    } {
        let Some(tunnel) = open.acquire(&slot, limits) else {
            // one refusal at a time: a container that floods the platform waits in the bounded queue
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream, limits.per_slot)).await;
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        tasks.spawn(async move {
            serve(stream, router, limits, shutdown).await;
            drop(tunnel);
        });
    }
    shutdown.cancel();
    tasks.close();
    let _ = tokio::time::timeout(limits.drain_timeout, tasks.wait()).await;
}

async fn serve(stream: UnixStream, router: axum::Router, limits: TunnelLimits, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain_timeout, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a tunnel ended early");
    }
}

async fn refuse(mut stream: UnixStream, per_slot: usize) -> std::io::Result<()> {
    let body = LlmError::too_many_connections(per_slot).body().to_string();
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The number of open tunnels by slot.
#[derive(Clone, Debug, Default)]
struct OpenTunnels(Arc<Mutex<HashMap<SlotId, usize>>>);

/// One open tunnel; counts until it is dropped.
struct OpenTunnel {
    slot: SlotId,
    open: OpenTunnels,
}

impl OpenTunnels {
    fn acquire(&self, slot: &SlotId, limits: TunnelLimits) -> Option<OpenTunnel> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_slot = counts.get(slot).copied().unwrap_or_default();
        if of_slot >= limits.per_slot || counts.values().sum::<usize>() >= limits.total {
            return None;
        }
        counts.insert(slot.clone(), of_slot + 1);
        Some(OpenTunnel { slot: slot.clone(), open: self.clone() })
    }
}

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        let mut counts = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.slot) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.slot);
            }
        }
    }
}
