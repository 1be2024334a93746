//! A chat completion request: read within bounds, checked, and rewritten for the provider.

use std::collections::BTreeMap;

use axum::body::Body;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::{BODY_DEADLINE, LlmError};

/// The largest request, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// A request for a chat completion. What it does not look into stays byte for byte what the agent wrote.
#[derive(Debug)]
pub(super) struct ChatRequest {
    fields: BTreeMap<String, Box<RawValue>>,
    model: String,
    stream: bool,
}

impl ChatRequest {
    /// Reads a request's body.
    pub(super) async fn read(body: Body) -> Result<Self, LlmError> {
        let read = axum::body::to_bytes(body, MAX_BODY);
        let bytes = tokio::time::timeout(BODY_DEADLINE, read).await.map_err(|_| LlmError::slow_body())?;
        Self::parse(&bytes.map_err(|error| refusal(&error))?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LlmError> {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)
            .map_err(|error| LlmError::bad_request(format!("the request is no JSON object: {error}")))?;
        let mut request = Self { fields, model: String::new(), stream: false };
        request.model = request.field("model")?.unwrap_or_default();
        request.stream = request.field("stream")?.unwrap_or_default();
        if request.field::<Vec<&RawValue>>("messages")?.is_none_or(|messages| messages.is_empty()) {
            return Err(LlmError::bad_request("messages must be a list that is not empty"));
        }
        Ok(request)
    }

    /// The model that was asked for; may be empty.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is wanted as server-sent events.
    pub(super) fn is_stream(&self) -> bool {
        self.stream
    }

    /// Names the model that will answer, and has a stream report what it used.
    pub(super) fn prepare(&mut self, model: &str) {
        model.clone_into(&mut self.model);
        self.fields.insert("model".into(), raw(&model));
        if self.stream {
            self.fields.insert("stream_options".into(), raw(&serde_json::json!({"include_usage": true})));
        }
    }

    /// One field, if it is there and not null.
    pub(super) fn field<'a, T: serde::Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, LlmError> {
        let Some(value) = self.fields.get(name) else { return Ok(None) };
        serde_json::from_str(value.get())
            .map_err(|error| LlmError::bad_request(format!("{name} is not what it should be: {error}")))
    }

    /// Tokens of the prompt by rule of thumb: a quarter of its characters.
    pub(super) fn estimated_tokens(&self) -> u64 {
        let chars = |name| self.fields.get(name).map_or(0, |value| value.get().chars().count());
        (chars("messages") + chars("tools")).div_ceil(4) as u64
    }

    /// The request as it goes to the provider.
    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.fields).expect("raw JSON values serialise").into()
    }

    /// A request made of JSON text, for tests.
    #[cfg(test)]
    pub(super) fn of(value: &serde_json::Value) -> Self {
        Self::parse(value.to_string().as_bytes()).unwrap()
    }
}

fn raw(value: &(impl serde::Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("strings and literals serialise")
}

/// The axum error of a body over its limit wraps [`http_body_util::LengthLimitError`]; every other is a
/// connection that broke.
fn refusal(error: &axum::Error) -> LlmError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return LlmError::too_large(MAX_BODY);
        }
        cause = inner.source();
    }
    LlmError::bad_request("the request's body broke off")
}
