//! Tunnels: connections out of containers, each served as HTTP/1.1 and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mgx_protocol::SlotId;
use mgx_runtimes::Tunnel;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{LlmError, LlmProxy};

/// How much of the platform containers may take up with tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelLimits {
    /// Connections of one slot at once. HTTP/1.1 serves one request at a time on each.
    pub per_slot: usize,
    /// Connections of all slots at once.
    pub total: usize,
    /// How long a connection may take to send a request's head, and may idle between requests.
    pub header_deadline: Duration,
    /// How long requests may go on after the shutdown was asked for.
    pub drain: Duration,
}

impl Default for TunnelLimits {
    fn default() -> Self {
        Self {
            per_slot: 16,
            total: 1024,
            header_deadline: Duration::from_mins(1),
            drain: Duration::from_secs(5),
        }
    }
}

/// The largest head of a request, in bytes, and its most headers.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;

/// How long a refusal may take to be written.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Serves every tunnel that comes until `shutdown`, or until nobody can send one any more; then lets requests that
/// are under way end, for at most [`TunnelLimits::drain`].
pub async fn serve_tunnels(
    mut tunnels: mpsc::Receiver<Tunnel>,
    proxy: LlmProxy,
    limits: TunnelLimits,
    shutdown: CancellationToken,
) {
    let open = Open::default();
    let tasks = TaskTracker::new();
    let router = proxy.router();
    while let Some(Tunnel { slot, stream }) = tokio::select! {
        tunnel = tunnels.recv() => tunnel,
        () = shutdown.cancelled() => None,
    } {
        let Some(place) = open.enter(&slot, limits) else {
            // At most one refusal is under way: whoever floods waits in the bounded queue.
            let _ = tokio::time::timeout(REFUSAL_DEADLINE, refuse(stream, limits.per_slot)).await;
            continue;
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        tasks.spawn(async move {
            serve(stream, router, limits, shutdown).await;
            drop(place);
        });
    }
    shutdown.cancel();
    tasks.close();
    let _ = tokio::time::timeout(limits.drain, tasks.wait()).await;
}

async fn serve(stream: UnixStream, router: axum::Router, limits: TunnelLimits, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_deadline)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.drain, connection).await {
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
    let body = LlmError::busy(per_slot).body().to_string();
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 1\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The tunnels that are open, by slot.
#[derive(Clone, Debug, Default)]
struct Open(Arc<Mutex<HashMap<SlotId, usize>>>);

/// One open tunnel; dropped when it ends.
struct Place {
    slot: SlotId,
    open: Open,
}

impl Open {
    fn enter(&self, slot: &SlotId, limits: TunnelLimits) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = counts.get(slot).copied().unwrap_or_default();
        if mine >= limits.per_slot || counts.values().sum::<usize>() >= limits.total {
            return None;
        }
        counts.insert(slot.clone(), mine + 1);
        Some(Place { slot: slot.clone(), open: self.clone() })
    }
}

impl Drop for Place {
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
