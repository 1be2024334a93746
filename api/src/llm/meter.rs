//! Reads what an answer used off its bytes as they pass by, and books it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use http::HeaderValue;
use mgx_apps::{SessionStore, Usage};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Attempts;
use super::budget::Permit;
use super::caller::Caller;
use super::price::Price;
use super::request::ChatRequest;

/// The longest line of a stream, and the longest whole answer, that is looked into. Longer ones pass unread, and
/// what they used is estimated.
const MAX_READ: usize = 1024 * 1024;

/// The bytes of an answer, as they come.
pub(super) type AnswerBytes = BoxStream<'static, Result<Bytes, BrokenOff>>;

/// The answer ended before its end; the response must be cut, so that the agent sees it.
#[derive(Debug, thiserror::Error)]
#[error("the model's answer broke off: {0}")]
pub(super) struct BrokenOff(pub(super) &'static str);

/// Where usage is booked: the session's sum, and its log.
#[derive(Debug)]
pub(super) struct Ledger {
    attempts: Arc<dyn Attempts>,
    sessions: Arc<dyn SessionStore>,
    prices: BTreeMap<String, Price>,
}

impl Ledger {
    pub(super) fn new(
        attempts: Arc<dyn Attempts>,
        sessions: Arc<dyn SessionStore>,
        prices: BTreeMap<String, Price>,
    ) -> Self {
        Self { attempts, sessions, prices }
    }

    async fn book(&self, caller: &Caller, model: &str, used: Used) {
        let price = self.prices.get(model);
        let cost = price.map(|price| price.of(used.prompt_tokens, used.completion_tokens));
        let usage = Usage {
            requests: 1,
            prompt_tokens: used.prompt_tokens,
            completion_tokens: used.completion_tokens,
            cost_micros: cost.unwrap_or(0),
        };
        let total = match self.sessions.add_usage(&caller.session, usage).await {
            Ok(total) => total,
            Err(why) => {
                tracing::warn!(session = %caller.session, %why, ?usage, "usage of a session is not booked");
                return;
            }
        };
        let mut event = json!({
            "model": model,
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "total_requests": total.requests,
            "total_tokens": total.prompt_tokens + total.completion_tokens,
        });
        if let Some(cost) = cost {
            event["cost_micros"] = cost.into();
            event["total_cost_micros"] = total.cost_micros.into();
        }
        if used.estimated {
            event["estimated"] = Value::Bool(true);
        }
        if let Some(agent) = &caller.agent {
            event["agent"] = agent.as_str().into();
        }
        let Value::Object(event) = event else { return };
        if let Err(why) = self.attempts.record(caller.job, caller.attempt, "llm_usage", event).await {
            tracing::debug!(job = %caller.job, %why, "usage is not in the log");
        }
    }
}

/// What one answer used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    prompt_tokens: u64,
    completion_tokens: u64,
    estimated: bool,
}

/// The open bill of one answer. Booked exactly once: at the answer's end, or when the agent goes away before.
#[derive(Debug)]
pub(super) struct Bill(Option<Open>);

#[derive(Debug)]
struct Open {
    ledger: Arc<Ledger>,
    caller: Caller,
    model: String,
    prompt_estimate: u64,
    meter: Meter,
    /// Counts against the budget until the booking is durable.
    _permit: Permit,
}

impl Bill {
    pub(super) fn open(
        ledger: Arc<Ledger>,
        caller: Caller,
        model: String,
        permit: Permit,
        request: &ChatRequest,
        content_type: &HeaderValue,
    ) -> Self {
        let is_stream = content_type.as_bytes().starts_with(b"text/event-stream");
        let meter = Meter::new(is_stream);
        let prompt_estimate = request.estimated_tokens();
        Self(Some(Open { ledger, caller, model, prompt_estimate, meter, _permit: permit }))
    }

    /// The same bytes, metered, and cut off when they take longer than `whole`.
    pub(super) fn metered(
        self,
        bytes: AnswerBytes,
        whole: Duration,
    ) -> impl Stream<Item = Result<Bytes, BrokenOff>> {
        let until = Instant::now() + whole;
        stream::unfold(Some((self, bytes)), move |state| async move {
            let (mut bill, mut bytes) = state?;
            let next = match tokio::time::timeout_at(until, bytes.next()).await {
                Ok(next) => next,
                Err(_) => Some(Err(BrokenOff("it took too long"))),
            };
            match next {
                Some(Ok(chunk)) => {
                    bill.feed(&chunk);
                    Some((Ok(chunk), Some((bill, bytes))))
                }
                Some(Err(cut)) => {
                    bill.settle().await;
                    Some((Err(cut), None))
                }
                None => {
                    bill.settle().await;
                    None
                }
            }
        })
    }

    fn feed(&mut self, chunk: &[u8]) {
        if let Some(open) = &mut self.0 {
            open.meter.feed(chunk);
        }
    }

    async fn settle(&mut self) {
        if let Some(open) = self.0.take() {
            open.settle().await;
        }
    }
}

impl Drop for Bill {
    /// The agent hung up in the middle of the answer: what it got is booked all the same.
    fn drop(&mut self) {
        if let Some(open) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(open.settle());
        }
    }
}

impl Open {
    async fn settle(mut self) {
        let used = self.meter.finish().unwrap_or(Used {
            prompt_tokens: self.prompt_estimate,
            completion_tokens: self.meter.chars.div_ceil(4),
            estimated: true,
        });
        self.ledger.book(&self.caller, &self.model, used).await;
    }
}

/// Finds the usage in an answer that arrives in pieces.
#[derive(Debug)]
struct Meter {
    is_stream: bool,
    /// The unfinished line of a stream, or the whole answer so far.
    pending: Vec<u8>,
    /// The pending bytes were too many and are skipped.
    skipping: bool,
    usage: Option<Used>,
    /// Characters that the model wrote.
    chars: u64,
}

impl Meter {
    fn new(is_stream: bool) -> Self {
        Self { is_stream, pending: Vec::new(), skipping: false, usage: None, chars: 0 }
    }

    fn feed(&mut self, mut chunk: &[u8]) {
        while self.is_stream
            && let Some(end) = chunk.iter().position(|byte| *byte == b'\n')
        {
            self.keep(&chunk[..end]);
            chunk = &chunk[end + 1..];
            self.read_line();
        }
        self.keep(chunk);
    }

    /// What the model reported, if it did.
    fn finish(&mut self) -> Option<Used> {
        if self.is_stream {
            self.read_line();
        } else if !self.skipping {
            let whole = std::mem::take(&mut self.pending);
            self.read(&whole);
        }
        self.usage
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skipping || self.pending.len() + bytes.len() > MAX_READ {
            self.skipping = true;
            self.pending.clear();
            self.chars += bytes.len() as u64;
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn read_line(&mut self) {
        let line = std::mem::take(&mut self.pending);
        if !std::mem::take(&mut self.skipping)
            && let Some(data) = line.strip_prefix(b"data:")
        {
            self.read(data);
        }
    }

    /// Reads a chunk of a stream, or a whole answer. Whatever is not there or has another shape counts nothing.
    fn read(&mut self, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
        for choice in value["choices"].as_array().into_iter().flatten() {
            self.chars += written(&choice["delta"]) + written(&choice["message"]);
        }
        let usage = &value["usage"];
        if let (Some(prompt_tokens), Some(completion_tokens)) =
            (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64())
        {
            self.usage = Some(Used { prompt_tokens, completion_tokens, estimated: false });
        }
    }
}

/// Characters of a message, or of a piece of one.
fn written(message: &Value) -> u64 {
    let text = |value: &Value| value.as_str().map_or(0, |text| text.chars().count() as u64);
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    text(&message["content"])
        + text(&message["reasoning_content"])
        + calls
            .map(|call| text(&call["function"]["name"]) + text(&call["function"]["arguments"]))
            .sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"gü\"}}]}\n\n: keep-alive\n\n\
        data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"ls\",\"arguments\":\"{}\"}}]}}]}\r\n\r\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

    fn read(pieces: &[&[u8]], is_stream: bool) -> (Option<Used>, u64) {
        let mut meter = Meter::new(is_stream);
        for piece in pieces {
            meter.feed(piece);
        }
        (meter.finish(), meter.chars)
    }

    #[test]
    fn usage_is_found_wherever_the_bytes_are_cut() {
        let reported = Some(Used { prompt_tokens: 7, completion_tokens: 3, estimated: false });
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            assert_eq!(read(&[head, tail], true), (reported, 6), "cut at {cut}");
        }
        let whole = br#"{"choices":[{"message":{"content":"abcd"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
        assert_eq!(read(&[&whole[..20], &whole[20..]], false), (reported, 4));
    }

    #[test]
    fn what_is_no_answer_counts_nothing_and_what_is_too_long_is_not_kept() {
        assert_eq!(read(&[b"data: [DONE]\n\ndata: {\"usage\":null}\nhello"], true), (None, 0));
        assert_eq!(read(&[b"<html>"], false), (None, 0));
        let mut meter = Meter::new(true);
        for _ in 0..40 {
            meter.feed(&vec![b'x'; 64 * 1024]);
            assert!(meter.pending.len() <= MAX_READ);
        }
        meter.feed(b"\n");
        meter.feed(STREAM.as_bytes());
        assert!(meter.finish().is_some(), "a line that is too long hides the ones after it");
    }
}
