//! The sections of `mgx.toml`, with the range of every value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use mgx_api::Proxies;
use mgx_protocol::{ByteSize, TimeSpan};
use mgx_runtimes::OciRuntime;
use serde::Deserialize;

use super::values::{Amount, Roles, Secret, Whole};

/// What runs jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuntimeName {
    /// A Docker engine.
    Docker,
    /// A Docker engine with a warm pool.
    #[serde(rename = "pool:docker")]
    PoolDocker,
    /// Podman, through its own API.
    Podman,
    /// Podman with a warm pool.
    #[serde(rename = "pool:podman")]
    PoolPodman,
    /// Processes on this machine, without isolation.
    Process,
    /// Nothing: every job succeeds without being run. For measuring the queue.
    Null,
}

impl RuntimeName {
    /// The name, as it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::PoolDocker => "pool:docker",
            Self::Podman => "podman",
            Self::PoolPodman => "pool:podman",
            Self::Process => "process",
            Self::Null => "null",
        }
    }

    /// Whether it has a warm pool.
    pub fn is_pool(self) -> bool {
        match self {
            Self::PoolDocker | Self::PoolPodman => true,
            Self::Docker | Self::Podman | Self::Process | Self::Null => false,
        }
    }
}

/// `[server]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Server {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub roles: Roles,
    pub advertise: String,
    pub trusted_proxies: Proxies,
    pub drain: TimeSpan<0, 300_000>,
}

/// `[store]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Store {
    pub path: PathBuf,
    pub url: Secret,
    pub database: String,
}

/// `[oauth2]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct OAuth2 {
    pub public_url: String,
    pub admin_password: Secret,
    pub refresh_grace: TimeSpan<0, 120_000>,
    pub password_login: bool,
}

/// `[docker]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Docker {
    pub host: String,
    pub holders: Whole<0, 16>,
}

/// `[podman]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Podman {
    pub host: String,
    pub oci_runtime: String,
}

/// `[isolation]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Isolation {
    pub agent: OciRuntime,
}

/// `[agent]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Agent {
    pub image: String,
    pub runner: PathBuf,
    pub memory: ByteSize<{ 64 << 20 }, { 1 << 40 }>,
    pub max_memory: ByteSize<{ 64 << 20 }, { 1 << 40 }>,
    pub cpu_quota: Whole<1000, 100_000_000>,
    pub max_cpu_quota: Whole<1000, 100_000_000>,
    pub pids: Whole<16, 100_000>,
    pub timeout: TimeSpan<1000, 604_800_000>,
    pub max_timeout: TimeSpan<1000, 604_800_000>,
    pub grace: TimeSpan<0, 600_000>,
}

/// `[pool]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Pool {
    pub min: Whole<0, 1000>,
    pub max: Whole<0, 1000>,
    pub memory: ByteSize<{ 64 << 20 }, { 1 << 50 }>,
    pub refill: Whole<1, 32>,
    pub idle: TimeSpan<1000, 86_400_000>,
}

/// `[scheduler]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Scheduler {
    pub max_running: Whole<1, 10_000>,
    pub start_tries: Whole<1, 10>,
    pub reap_every: TimeSpan<1000, 3_600_000>,
    pub ageing: TimeSpan<1000, 86_400_000>,
    pub patience: TimeSpan<1000, 86_400_000>,
}

/// `[queue]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Queue {
    pub max_queued: Whole<1, 10_000_000>,
    pub max_queued_per_user: Whole<0, 10_000_000>,
    pub ttl: TimeSpan<0, 2_592_000_000>,
    pub max_ttl: TimeSpan<1000, 2_592_000_000>,
}

/// `[rate]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Rate {
    pub per_minute: Whole<1, 10_000_000>,
    pub burst: Whole<1, 10_000_000>,
}

/// `[kinds]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Kinds {
    pub agent: Whole<0, 10_000>,
}

/// `[quotas]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Quotas {
    pub user_jobs: Whole<1, 10_000>,
    pub host_memory: QuotaMemory,
    pub host_cpu_quota: QuotaCpu,
    pub host_pids: QuotaPids,
    pub user_memory: QuotaMemory,
    pub user_cpu_quota: QuotaCpu,
    pub user_pids: QuotaPids,
    pub session_memory: QuotaMemory,
    pub session_cpu_quota: QuotaCpu,
    pub session_pids: QuotaPids,
}

type QuotaMemory = ByteSize<{ 64 << 20 }, { 1 << 50 }>;
type QuotaCpu = Whole<1000, 10_000_000_000>;
type QuotaPids = Whole<16, 1_000_000_000>;

/// `[history]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct History {
    pub max_events: Whole<1000, 10_000_000>,
    pub max_bytes: ByteSize<{ 1 << 20 }, { 1 << 40 }>,
    pub max_events_per_job: Whole<1000, 10_000_000>,
    pub max_bytes_per_job: ByteSize<{ 1 << 20 }, { 1 << 40 }>,
    pub redact_patterns: bool,
}

/// `[retention]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Retention {
    pub events: TimeSpan<0, 315_360_000_000>,
}

/// `[streams]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Streams {
    pub per_session: Whole<1, 10_000>,
    pub per_user: Whole<1, 10_000>,
    pub in_all: Whole<1, 10_000>,
}

/// `[workspaces]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Workspaces {
    pub root: PathBuf,
    pub host_root: PathBuf,
    pub owner: String,
    pub max_file: ByteSize<1024, { 1 << 30 }>,
}

impl Workspaces {
    /// The numbers of the user and the group in `owner`; `None` if it is empty or wrong.
    pub(crate) fn ids(owner: &str) -> Option<(u32, u32)> {
        let (uid, gid) = owner.split_once(':')?;
        Some((uid.parse().ok()?, gid.parse().ok()?))
    }
}

/// `[llm]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Llm {
    pub base_url: String,
    pub api_key: Secret,
    pub api_key_file: PathBuf,
    pub ca_file: PathBuf,
    pub headers: BTreeMap<String, String>,
    pub body: serde_json::Map<String, serde_json::Value>,
    pub max_tokens: Whole<0, 10_000_000>,
    pub models: Vec<String>,
    pub max_requests_per_session: Whole<1, 1_000_000>,
    pub max_tokens_per_session: Whole<1, 10_000_000_000>,
    pub max_cost_per_session: Amount,
    pub max_requests_per_job: Whole<0, 1_000_000>,
    pub max_tokens_per_job: Whole<0, 10_000_000_000>,
    pub max_cost_per_job: Amount,
    pub max_tokens_per_user_per_day: Whole<0, 1_000_000_000_000>,
    pub max_cost_per_user_per_day: Amount,
    pub max_requests_per_minute: Whole<1, 100_000>,
    pub first_byte_timeout: TimeSpan<1_000, 3_600_000>,
    pub read_timeout: TimeSpan<1_000, 3_600_000>,
    pub answer_timeout: TimeSpan<1_000, 7_200_000>,
    pub retry_pause: TimeSpan<10, 60_000>,
    pub hold: TimeSpan<0, 3_600_000>,
    pub max_outage: TimeSpan<0, 86_400_000>,
    pub demo_pace: TimeSpan<0, 10_000>,
    pub prices: BTreeMap<String, ModelPrice>,
    pub providers: BTreeMap<String, LlmProvider>,
}

/// `[llm.providers.NAME]`: a provider besides the default one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct LlmProvider {
    pub preset: String,
    pub base_url: String,
    pub api_key: Secret,
    pub api_key_file: PathBuf,
    pub ca_file: PathBuf,
    pub headers: BTreeMap<String, String>,
    pub body: serde_json::Map<String, serde_json::Value>,
    pub max_tokens: Option<u64>,
}

/// `[llm.prices."…"]`: what a million tokens of a model cost.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct ModelPrice {
    pub input_per_million: Amount,
    #[serde(default)]
    pub cached_input_per_million: Option<Amount>,
    pub output_per_million: Amount,
}

/// `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
