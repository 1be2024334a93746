//! The LLM proxy on tunnels, with one attempt that always runs and a sum of usage in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::stream;
use mgx_llm::{
    Attempts, JobOwner, LlmConfig, LlmProxy, ProviderConfig, TunnelLimits, Usage, UsageStore, serve_tunnels,
};
use mgx_protocol::{Attempt, EventKind, JobId, SessionId, SlotId};
use serde_json::{Map, Value};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The token of the attempt.
pub(super) const TOKEN: &str = "bench";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A proxy that serves until this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    tunnels: mpsc::Sender<(SlotId, UnixStream)>,
    opened: AtomicU64,
    usage: Arc<MemoryUsage>,
    _shutdown: DropGuard,
}

impl Proxy {
    /// Starts the proxy of the provider at `url`.
    pub(super) fn start(url: &str) -> anyhow::Result<Self> {
        let config = LlmConfig {
            provider: Some(ProviderConfig::at(url.to_owned(), None)),
            default_model: "bench".to_owned(),
            ..LlmConfig::default()
        };
        let usage = Arc::<MemoryUsage>::default();
        let proxy = LlmProxy::new(config, Arc::new(OneAttempt(JobId::new())), usage.clone())?;
        let (tunnels, mut opened) = mpsc::channel(16);
        let opened = stream::poll_fn(move |cx| opened.poll_recv(cx));
        let shutdown = CancellationToken::new();
        tokio::spawn(serve_tunnels(opened, proxy, TunnelLimits::default(), shutdown.clone()));
        Ok(Self { tunnels, opened: AtomicU64::new(0), usage, _shutdown: shutdown.drop_guard() })
    }

    /// Opens a tunnel out of a container of its own.
    pub(super) async fn open(&self) -> anyhow::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        let slot = format!("bench-{}", self.opened.fetch_add(1, Ordering::Relaxed));
        self.tunnels.send((slot.parse()?, far)).await?;
        Ok(near)
    }

    /// How many replies have been passed on and counted.
    pub(super) fn replies(&self) -> u64 {
        self.usage.0.lock().map(|usage| usage.requests).unwrap_or_default()
    }
}

/// The attempt that every agent belongs to.
#[derive(Debug)]
struct OneAttempt(JobId);

#[async_trait]
impl Attempts for OneAttempt {
    fn verify(&self, token: &str) -> Option<(JobId, Attempt)> {
        (token == TOKEN).then_some((self.0, Attempt(1)))
    }

    fn is_live(&self, job: JobId, _: Attempt) -> bool {
        job == self.0
    }

    async fn owner(&self, _: JobId) -> Result<Option<JobOwner>, BoxError> {
        Ok(Some(JobOwner { session: "bench".parse()?, user: "bench".to_owned() }))
    }

    async fn record(
        &self,
        _: JobId,
        _: Attempt,
        _: EventKind,
        _: Map<String, Value>,
    ) -> Result<(), BoxError> {
        Ok(())
    }
}

/// The usage of the one session.
#[derive(Debug, Default)]
struct MemoryUsage(Mutex<Usage>);

#[async_trait]
impl UsageStore for MemoryUsage {
    async fn usage(&self, _: &SessionId) -> Result<Option<Usage>, BoxError> {
        let sum = self.0.lock().map_err(|error| error.to_string())?;
        Ok(Some(*sum))
    }

    async fn add_usage(&self, _: &SessionId, used: Usage) -> Result<Usage, BoxError> {
        let mut sum = self.0.lock().map_err(|error| error.to_string())?;
        sum.requests += used.requests;
        sum.prompt_tokens += used.prompt_tokens;
        sum.completion_tokens += used.completion_tokens;
        Ok(*sum)
    }
}
