//! Records what each answer used: in the session's sum, and as an event in the session's log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http::HeaderValue;
use jiff::Timestamp;
use mgx_protocol::EventKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::caller::Caller;
use crate::model::answer::{AnswerBytes, END_MARK, Interrupted};
use crate::usage::budget::RequestPermit;
use crate::usage::limits::BudgetUse;
use crate::usage::parser::{TokenCount, UsageParser};
use crate::usage::sums::UsageSums;
use crate::{Attempts, LlmLimits, Price, Usage, UsageStore};

/// Writes usage to the sessions' sums and logs.
#[derive(Debug)]
pub(crate) struct UsageRecorder {
    attempts: Arc<dyn Attempts>,
    store: Arc<dyn UsageStore>,
    sums: Arc<UsageSums>,
    limits: LlmLimits,
    prices: BTreeMap<String, Price>,
}

impl UsageRecorder {
    pub(crate) fn new(
        attempts: Arc<dyn Attempts>,
        store: Arc<dyn UsageStore>,
        sums: Arc<UsageSums>,
        limits: LlmLimits,
        prices: BTreeMap<String, Price>,
    ) -> Self {
        Self { attempts, store, sums, limits, prices }
    }

    async fn record(&self, caller: &Caller, model: &str, tokens: TokenCount, is_estimate: bool) {
        let TokenCount { prompt: prompt_tokens, cached: cached_tokens, completion: completion_tokens } =
            tokens;
        let cost = self.prices.get(model).map(|price| price.cost_micros(tokens));
        let usage =
            Usage { requests: 1, prompt_tokens, completion_tokens, cost_micros: cost.unwrap_or_default() };
        let (of_job, of_user) = self.sums.add(caller.job, &caller.user, usage, Timestamp::now());
        let total = match self.store.add_usage(&caller.session, usage).await {
            Ok(total) => total,
            Err(error) => {
                tracing::warn!(session = %caller.session, %error, ?usage, "cannot record a session's usage");
                return;
            }
        };
        let mut event = json!({
            "model": model,
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_requests": total.requests,
            "total_tokens": total.prompt_tokens + total.completion_tokens,
        });
        if let Some(cost) = cost {
            event["cost_micros"] = cost.into();
            event["total_cost_micros"] = total.cost_micros.into();
        }
        if cached_tokens > 0 {
            event["cached_tokens"] = cached_tokens.into();
        }
        let (budget, warning) = BudgetUse::report(self.limits.budget(of_job, total, of_user));
        if budget != json!([]) {
            event["budget"] = budget;
        }
        if let Some(warning) = warning {
            event["warning"] = warning.into();
        }
        if is_estimate {
            event["estimated"] = Value::Bool(true);
        }
        if let Some(agent) = &caller.agent {
            event["agent"] = agent.as_str().into();
        }
        let Value::Object(event) = event else { return };
        let logged = self.attempts.record(caller.job, caller.attempt, EventKind::LlmUsage, event).await;
        if let Err(error) = logged {
            tracing::debug!(job = %caller.job, %error, "cannot log an answer's usage");
        }
    }
}

/// The usage of an answer that is being passed on. Recorded exactly once: when the answer ends, or when the agent
/// closes the connection before.
#[derive(Debug)]
pub(crate) struct PendingUsage(Option<OpenAnswer>);

#[derive(Debug)]
struct OpenAnswer {
    recorder: Arc<UsageRecorder>,
    caller: Caller,
    model: String,
    estimated_prompt_tokens: u64,
    parser: UsageParser,
    /// Counts against the budget until the usage is durable.
    _permit: RequestPermit,
}

impl PendingUsage {
    pub(crate) fn new(
        recorder: Arc<UsageRecorder>,
        caller: Caller,
        model: String,
        permit: RequestPermit,
        estimated_prompt_tokens: u64,
        content_type: &HeaderValue,
    ) -> Self {
        let is_stream = content_type.as_bytes().starts_with(b"text/event-stream");
        Self(Some(OpenAnswer {
            recorder,
            caller,
            model,
            estimated_prompt_tokens,
            parser: UsageParser::new(is_stream),
            _permit: permit,
        }))
    }

    /// Passes the bytes on and measures them; interrupts an answer that takes longer than `timeout`.
    pub(crate) fn meter(
        self,
        bytes: AnswerBytes,
        timeout: Duration,
    ) -> impl Stream<Item = Result<Bytes, Interrupted>> {
        let deadline = Instant::now() + timeout;
        stream::unfold(Some((self, bytes)), move |state| async move {
            let (mut pending, mut bytes) = state?;
            let next = match tokio::time::timeout_at(deadline, bytes.next()).await {
                Ok(next) => next,
                Err(_) => Some(Err(Interrupted("it took too long"))),
            };
            match next {
                Some(Ok(chunk)) => {
                    pending.read(&chunk);
                    // the agent asks again as soon as it has the end mark: by then the budget has to know what it has used
                    if chunk.ends_with(END_MARK) {
                        pending.record().await;
                    }
                    Some((Ok(chunk), Some((pending, bytes))))
                }
                Some(Err(interrupted)) => {
                    pending.record().await;
                    Some((Err(interrupted), None))
                }
                None => {
                    pending.record().await;
                    None
                }
            }
        })
    }

    fn read(&mut self, chunk: &[u8]) {
        if let Some(answer) = &mut self.0 {
            answer.parser.push(chunk);
        }
    }

    async fn record(&mut self) {
        if let Some(answer) = self.0.take() {
            // in a task of its own: an agent that closes the connection at the end mark drops this future
            tokio::spawn(answer.record()).await.ok();
        }
    }
}

impl Drop for PendingUsage {
    /// The agent closed the connection in the middle of the answer: what it received is recorded all the same.
    fn drop(&mut self) {
        if let Some(answer) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(answer.record());
        }
    }
}

impl OpenAnswer {
    async fn record(mut self) {
        let reported = self.parser.finish();
        let tokens = reported.unwrap_or_else(|| TokenCount {
            prompt: self.estimated_prompt_tokens,
            cached: 0,
            completion: self.parser.estimated_tokens(),
        });
        self.recorder.record(&self.caller, &self.model, tokens, reported.is_none()).await;
    }
}
