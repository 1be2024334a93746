//! A model's answer that has begun: its content type, and its bytes as they arrive.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http::HeaderValue;

/// The end mark of a stream of events, as it is passed on to the agent.
pub(crate) const END_MARK: &[u8] = b"data: [DONE]\n\n";

/// An answer whose first byte has arrived.
pub(crate) struct ModelAnswer {
    pub(crate) content_type: HeaderValue,
    pub(crate) bytes: AnswerBytes,
}

/// The bytes of an answer.
pub(crate) type AnswerBytes = BoxStream<'static, Result<Bytes, Interrupted>>;

/// The answer stopped before its end. The response to the agent is cut too, so that the agent can tell it from a
/// complete one.
#[derive(Debug, thiserror::Error)]
#[error("the model's answer was interrupted: {0}")]
pub(crate) struct Interrupted(pub(crate) &'static str);
