//! The settings of each part of the platform, made of the configuration.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use mgx_api::{JobRules, StreamBounds};
use mgx_apps::{Isolation, Language};
use mgx_llm::{DEMO_MODEL, LlmConfig, LlmLimits, Preset, Price, ProviderConfig, Timeouts, UsageLimits};
use mgx_policies::{Policies, Rate, SessionBudget, TimeLimits};
use mgx_protocol::{RetryPolicy, Team};
use mgx_runtimes::Limits;
use mgx_scheduler::{Budget, Caps, Fairness, HistoryLimit, Kind, Redactor};

use crate::config::{Amount, Config, Llm, LlmProvider, ModelPrice};

/// How many of the waiting jobs the scheduler keeps whole in memory, the next ones first: a queue that is shorter than
/// this waits for no read of the store.
const QUEUED_IN_MEMORY: usize = 256;

/// The OCI runtime of the containers of each kind of job. Agent jobs are the only ones that can be submitted.
pub(crate) fn isolation(config: &Config) -> Isolation {
    let agent = config.isolation.agent;
    Isolation { agent, dev: agent, build: agent }
}

/// The team of agents. Without a provider, every role names the demo model.
///
/// # Errors
/// `[agents]` contradicts itself.
pub(crate) fn team(config: &Config, language: Language) -> anyhow::Result<Team> {
    let mut team = config.agents.clone();
    let llm = llm_config(config);
    if llm.provider.is_none() && llm.providers.is_empty() {
        DEMO_MODEL.clone_into(&mut team.default_model);
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    team.retry = RetryPolicy {
        first_pause_ms: millis(config.llm.retry_pause.duration()),
        hold_ms: millis(config.llm.hold.duration()),
        max_outage_ms: millis(config.llm.max_outage.duration()),
        ..RetryPolicy::default()
    };
    Ok(team.team(language)?)
}

/// How many jobs one user may have in the queue.
fn max_queued_per_user(config: &Config) -> usize {
    match config.queue.max_queued_per_user.count() {
        0 => {
            let all = config.queue.max_queued.count();
            all - all / 5
        }
        given => given,
    }
}

/// The settings of the scheduler; `runtime`: the runtime with the address of its engine.
pub(crate) fn scheduler_config(
    config: &Config,
    runtime: String,
    redactor: Redactor,
) -> mgx_scheduler::Config {
    let history = &config.history;
    mgx_scheduler::Config {
        caps: caps(config),
        fairness: Fairness {
            weights: config.weights.iter().map(|(user, weight)| (user.clone(), weight.small())).collect(),
            ageing: config.scheduler.ageing.duration(),
            overtaking_limit: config.scheduler.patience.duration(),
        },
        max_queued: config.queue.max_queued.count(),
        max_queued_per_user: max_queued_per_user(config),
        history: HistoryLimit { events: history.max_events.get(), bytes: history.max_bytes.bytes() },
        history_per_job: HistoryLimit {
            events: history.max_events_per_job.get(),
            bytes: history.max_bytes_per_job.bytes(),
        },
        grace: config.agent.grace.duration(),
        in_memory: QUEUED_IN_MEMORY,
        runtime,
        gives_up_jobs_of_other_runtimes: config.gives_up_jobs_of_other_runtimes,
        start_tries: config.scheduler.start_tries.small(),
        redactor,
        max_provider_outage: config.llm.max_outage.duration(),
        reap_every: config.scheduler.reap_every.duration(),
    }
}

/// What may be in use at a time.
fn caps(config: &Config) -> Caps {
    let quotas = &config.quotas;
    Caps {
        per_user: quotas.user_jobs.count(),
        per_kind: [(Kind::Agent, config.kinds.agent.count())].into(),
        host: Budget {
            memory_bytes: quotas.host_memory.bytes(),
            cpu_quota: quotas.host_cpu_quota.get(),
            pids: quotas.host_pids.get(),
        },
        user: Budget {
            memory_bytes: quotas.user_memory.bytes(),
            cpu_quota: quotas.user_cpu_quota.get(),
            pids: quotas.user_pids.get(),
        },
        session: Budget {
            memory_bytes: quotas.session_memory.bytes(),
            cpu_quota: quotas.session_cpu_quota.get(),
            pids: quotas.session_pids.get(),
        },
        ..Caps::of(config.scheduler.max_running.count())
    }
}

/// The limits of one container if the request names none.
pub(crate) fn default_limits(config: &Config) -> Limits {
    let agent = &config.agent;
    Limits { memory_bytes: agent.memory.bytes(), cpu_quota: agent.cpu_quota.get(), pids: agent.pids.small() }
}

/// What a job gets if the request does not say, and the most that a request may ask for.
pub(crate) fn job_rules(config: &Config) -> JobRules {
    let default_limits = default_limits(config);
    let max_limits = Limits {
        memory_bytes: config.agent.max_memory.bytes(),
        cpu_quota: config.agent.max_cpu_quota.get(),
        pids: default_limits.pids,
    };
    JobRules { default_limits, max_limits, times: times(config) }
}

/// How many event streams may be open at a time.
pub(crate) fn stream_bounds(config: &Config) -> StreamBounds {
    let streams = &config.streams;
    StreamBounds {
        per_session: streams.per_session.count(),
        per_user: streams.per_user.count(),
        in_all: streams.in_all.count(),
    }
}

/// How long a job may wait and run, in seconds.
fn times(config: &Config) -> TimeLimits {
    TimeLimits {
        run_s: config.agent.timeout.seconds(),
        max_run_s: config.agent.max_timeout.seconds(),
        wait_s: Some(config.queue.ttl.seconds()).filter(|seconds| *seconds > 0),
        max_wait_s: config.queue.max_ttl.seconds(),
    }
}

/// The settings of the admission policies.
pub(crate) fn policies(config: &Config) -> Policies {
    let (llm, rate) = (&config.llm, &config.rate);
    let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Policies {
        times: times(config),
        caps: caps(config),
        allowance: SessionBudget {
            requests: llm.max_requests_per_session.get(),
            tokens: llm.max_tokens_per_session.get(),
            cost_micros: llm.max_cost_per_session.micros(),
        },
        rate: Rate {
            per_minute: at_least_one(rate.per_minute.small()),
            burst: at_least_one(rate.burst.small()),
        },
    }
}

/// The settings of the LLM proxy.
pub(crate) fn llm_config(config: &Config) -> LlmConfig {
    let llm = &config.llm;
    let base_url = Some(llm.base_url.clone()).filter(|url| !url.is_empty());
    let provider = ProviderConfig::of(base_url, llm.api_key.get().cloned()).map(|provider| ProviderConfig {
        headers: llm.headers.clone(),
        body: llm.body.clone(),
        max_tokens: Some(llm.max_tokens.get()).filter(|max| *max > 0),
        ca: certificates(&llm.ca_file),
        ..provider
    });
    LlmConfig {
        provider,
        providers: llm
            .providers
            .iter()
            .map(|(name, provider)| (name.clone(), provider_of(provider)))
            .collect(),
        default_model: config.agents.default_model.clone(),
        models: llm.models.clone(),
        limits: llm_limits(llm),
        prices: llm.prices.iter().map(|(model, price)| (model.clone(), price_of(*price))).collect(),
        timeouts: Timeouts {
            first_byte: llm.first_byte_timeout.duration(),
            read: llm.read_timeout.duration(),
            answer: llm.answer_timeout.duration(),
        },
        demo_pace: llm.demo_pace.duration(),
    }
}

fn llm_limits(llm: &Llm) -> LlmLimits {
    LlmLimits {
        session: UsageLimits {
            max_requests: llm.max_requests_per_session.get(),
            max_tokens: llm.max_tokens_per_session.get(),
            max_cost_micros: llm.max_cost_per_session.micros(),
        },
        job: UsageLimits {
            max_requests: llm.max_requests_per_job.get(),
            max_tokens: llm.max_tokens_per_job.get(),
            max_cost_micros: llm.max_cost_per_job.micros(),
        },
        user_per_day: UsageLimits {
            max_requests: 0,
            max_tokens: llm.max_tokens_per_user_per_day.get(),
            max_cost_micros: llm.max_cost_per_user_per_day.micros(),
        },
        requests_per_minute: llm.max_requests_per_minute.small(),
    }
}

/// One of `[llm.providers]`.
fn provider_of(config: &LlmProvider) -> ProviderConfig {
    let mut provider = ProviderConfig::at(config.base_url.clone(), config.api_key.get().cloned());
    if let Some(preset) = Preset::named(&config.preset) {
        preset.apply(&mut provider);
    }
    ProviderConfig {
        headers: config.headers.clone(),
        body: config.body.clone(),
        max_tokens: config.max_tokens,
        ca: certificates(&config.ca_file),
        ..provider
    }
}

/// The certificates in a file, which was read when the configuration was checked.
fn certificates(file: &Path) -> Option<Vec<u8>> {
    if file.as_os_str().is_empty() { None } else { std::fs::read(file).ok() }
}

fn price_of(price: ModelPrice) -> Price {
    Price {
        input_micros: price.input_per_million.micros(),
        cached_input_micros: price.cached_input_per_million.map(Amount::micros),
        output_micros: price.output_per_million.micros(),
    }
}
