//! A provider's answer on its way to the agent: in one dialect of event streams, without keys, its errors in one shape, and
//! at its end when the reply is.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use mgx_protocol::sse;
use serde_json::Value;
use tokio::time::timeout;

use crate::LlmError;
use crate::model::answer::{AnswerBytes, END_MARK, Interrupted};
use crate::model::key_filter::KeyFilter;
use crate::model::provider_error::ProviderError;

/// The longest event, and the longest answer in one piece, in bytes.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// How long the end of an answer may take after its end mark.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes of a provider's answer as they arrive.
pub(crate) type ProviderBytes = BoxStream<'static, Result<Bytes, Interrupted>>;

/// The beginning of an answer that is a reply, and the rest of it.
pub(crate) struct ReplyStream {
    /// Whether it is a stream of events; otherwise one JSON object.
    pub(crate) is_events: bool,
    /// What is passed on to the agent.
    pub(crate) bytes: AnswerBytes,
}

/// Reads until the answer is known to be a reply.
///
/// # Errors
/// The answer is an error, is empty, or breaks before anything of a reply has come.
pub(crate) async fn begin(mut rest: ProviderBytes, keys: &[&str]) -> Result<ReplyStream, LlmError> {
    let mut first = BytesMut::new();
    while first.trim_ascii_start().is_empty() {
        match rest.next().await {
            Some(Ok(bytes)) => first.extend_from_slice(&bytes),
            Some(Err(error)) => return Err(LlmError::provider_interrupted(&error)),
            None => return Err(LlmError::provider_unreachable("it sent an empty answer")),
        }
    }
    if first.trim_ascii_start().starts_with(b"{") || first.trim_ascii_start().starts_with(b"[") {
        return whole(first, rest, keys).await;
    }
    let mut events = Events {
        parser: sse::Parser::new(MAX_EVENT_BYTES),
        filter: KeyFilter::new(keys),
        keys: owned(keys),
        state: State::Open,
    };
    let mut out = BytesMut::new();
    let mut is_first = true;
    let mut next = Some(Ok(first.freeze()));
    loop {
        match next {
            Some(Ok(bytes)) => {
                events.push(&bytes, &mut out);
                if is_first && let State::Failed(error) = &mut events.state {
                    return Err(std::mem::replace(error, LlmError::provider_timeout()));
                }
                if !out.is_empty() || events.is_over() {
                    break;
                }
            }
            Some(Err(error)) => return Err(LlmError::provider_interrupted(&error)),
            None => {
                events.finish(&mut out);
                break;
            }
        }
        is_first = out.is_empty();
        next = rest.next().await;
    }
    Ok(ReplyStream { is_events: true, bytes: events.stream(out.freeze(), rest) })
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// An answer that is one JSON object.
async fn whole(mut first: BytesMut, mut rest: ProviderBytes, keys: &[&str]) -> Result<ReplyStream, LlmError> {
    while let Some(bytes) = rest.next().await {
        first.extend_from_slice(&bytes.map_err(|error| LlmError::provider_interrupted(&error))?);
        if first.len() > MAX_EVENT_BYTES {
            return Err(LlmError::provider_unreachable("its answer is too large"));
        }
    }
    if let Ok(value) = serde_json::from_slice::<Value>(&first)
        && ProviderError::is_error(&value)
    {
        return Err(LlmError::provider(ProviderError::read(Some(200), &first, keys), ""));
    }
    let text = KeyFilter::new(keys).whole(&String::from_utf8_lossy(&first));
    Ok(ReplyStream { is_events: false, bytes: stream::iter([Ok(Bytes::from(text))]).boxed() })
}

/// The events of an answer.
struct Events {
    parser: sse::Parser,
    filter: KeyFilter,
    keys: Vec<String>,
    state: State,
}

/// How far the answer has come.
enum State {
    Open,
    /// The provider has said that it is over.
    Done,
    /// The provider reports an error.
    Failed(LlmError),
}

impl Events {
    fn is_over(&self) -> bool {
        match self.state {
            State::Open => false,
            State::Done | State::Failed(_) => true,
        }
    }

    /// Passes the events in `bytes` on to `out`.
    fn push(&mut self, mut bytes: &[u8], out: &mut BytesMut) {
        while !self.is_over() {
            let data = match self.parser.next_frame(&mut bytes) {
                Ok(Some(event)) => event.data.trim().to_owned(),
                Ok(None) => return,
                // the agent reads none of this length either
                Err(sse::TooLong { .. }) => continue,
            };
            self.event(&data, out);
        }
    }

    fn event(&mut self, data: &str, out: &mut BytesMut) {
        if data.is_empty() {
            return;
        }
        if data == "[DONE]" {
            self.finish(out);
            self.state = State::Done;
            return;
        }
        let Ok(mut value) = serde_json::from_str::<Value>(data) else {
            // text that is no JSON may be a part of an error page; the agent passes over it
            return write(out, &self.filter.whole(data));
        };
        if ProviderError::is_error(&value) {
            let keys: Vec<_> = self.keys.iter().map(String::as_str).collect();
            let error = LlmError::provider(ProviderError::read(None, data.as_bytes(), &keys), "");
            write(out, &error.body().to_string());
            self.state = State::Failed(error);
            return;
        }
        let is_end = value["choices"].get(0).is_some_and(|choice| choice["finish_reason"].is_string());
        let is_changed = self.filter.chunk(&mut value);
        if is_end {
            for held in self.filter.flush() {
                write(out, &held.to_string());
            }
        }
        if is_changed {
            write(out, &value.to_string());
        } else {
            write(out, data);
        }
    }

    /// Passes on what was held back, and an event that has no end.
    fn finish(&mut self, out: &mut BytesMut) {
        if let Ok(Some(event)) = self.parser.next_frame(&mut &b"\n\n"[..]) {
            let data = event.data.trim().to_owned();
            if serde_json::from_str::<Value>(&data).is_ok() {
                self.event(&data, out);
            }
        }
        for held in self.filter.flush() {
            write(out, &held.to_string());
        }
    }

    /// `first`, then the rest of the answer, until it is over.
    fn stream(self, first: Bytes, rest: ProviderBytes) -> AnswerBytes {
        let rest = stream::unfold(Some((self, rest)), |state| async move {
            let (mut events, mut rest) = state?;
            loop {
                if events.is_over() {
                    tokio::spawn(read_to_the_end(rest));
                    return events.end().map(|last| (Ok(last), None));
                }
                let mut out = BytesMut::new();
                match rest.next().await {
                    Some(Ok(bytes)) => {
                        events.push(&bytes, &mut out);
                        if !out.is_empty() {
                            return Some((Ok(out.freeze()), Some((events, rest))));
                        }
                    }
                    Some(Err(error)) => return Some((Err(error), None)),
                    None => {
                        events.finish(&mut out);
                        return (!out.is_empty()).then(|| (Ok(out.freeze()), None));
                    }
                }
            }
        });
        stream::iter([Ok(first)]).chain(rest).boxed()
    }

    /// The end mark, if the provider has sent one.
    fn end(&self) -> Option<Bytes> {
        match self.state {
            State::Done => Some(Bytes::from_static(END_MARK)),
            State::Open | State::Failed(_) => None,
        }
    }
}

/// Reads what follows the end mark, so that the connection can serve the next request; a provider that does not end its
/// answer keeps none.
async fn read_to_the_end(mut rest: ProviderBytes) {
    let reading = async { while let Some(Ok(_)) = rest.next().await {} };
    timeout(END_TIMEOUT, reading).await.ok();
}

/// Writes one event; data of several lines has several `data` fields.
fn write(out: &mut BytesMut, data: &str) {
    for line in data.split('\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.trim_end_matches('\r').as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"\n");
}
