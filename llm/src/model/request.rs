//! A chat completion request: read within bounds, checked, and rewritten for the provider.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::LlmError;

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest request, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// A request for a chat completion. Fields that the proxy does not read are passed on byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct ChatRequest {
    fields: BTreeMap<String, Box<RawValue>>,
    model: String,
    stream: bool,
}

impl ChatRequest {
    /// Reads the body of a request.
    pub(crate) async fn read(body: Body) -> Result<Self, LlmError> {
        let read = axum::body::to_bytes(body, MAX_BODY);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| LlmError::slow_body())?;
        Self::parse(&bytes.map_err(|error| body_error(&error))?)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LlmError> {
        let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(bytes)
            .map_err(|error| LlmError::bad_request(format!("the request is not a JSON object: {error}")))?;
        let mut request = Self { fields, model: String::new(), stream: false };
        request.model = request.field("model")?.unwrap_or_default();
        request.stream = request.field("stream")?.unwrap_or_default();
        if request.field::<Vec<&RawValue>>("messages")?.is_none_or(|messages| messages.is_empty()) {
            return Err(LlmError::bad_request("messages must be a list that is not empty"));
        }
        Ok(request)
    }

    /// The smallest request. Thinking models refuse to answer within one token.
    pub(crate) fn probe(model: &str) -> Self {
        let body = serde_json::json!({
            "model": model, "max_tokens": 16, "stream": false, "messages": [{ "role": "user", "content": "Hi" }],
        });
        Self::parse(body.to_string().as_bytes()).expect("the request is complete")
    }

    /// The model that the agent asks for; may be empty.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Whether the agent asks for the answer as server-sent events.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream
    }

    /// Sets the model that is to answer, and asks for the usage at the end of a stream.
    pub(crate) fn prepare(&mut self, model: &str) {
        model.clone_into(&mut self.model);
        self.fields.insert("model".into(), raw(&model));
        if self.stream {
            self.fields.insert("stream_options".into(), raw(&serde_json::json!({"include_usage": true})));
        }
    }

    /// Whether the request has the field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Leaves the field out.
    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// Gives the field another name.
    pub(crate) fn rename(&mut self, name: &str, new: &str) {
        if let Some(value) = self.fields.remove(name) {
            self.fields.insert(new.to_owned(), value);
        }
    }

    /// Sets a field that the request does not have.
    pub(crate) fn set_default(&mut self, name: &str, value: &serde_json::Value) {
        if !self.fields.contains_key(name) {
            self.fields.insert(name.to_owned(), raw(value));
        }
    }

    /// Marks the end of the system prompt as the end of what the provider is to cache (Anthropic's `cache_control`).
    pub(crate) fn cache_system_prompt(&mut self) {
        self.change_system_prompt(|content| {
            let text = content.as_str()?;
            let cached = serde_json::json!({ "type": "ephemeral" });
            Some(serde_json::json!([{ "type": "text", "text": text, "cache_control": cached }]))
        });
    }

    /// Whether the system prompt is marked for caching.
    pub(crate) fn has_cache_control(&self) -> bool {
        self.fields.get("messages").is_some_and(|messages| messages.get().contains("\"cache_control\""))
    }

    /// Takes the mark off again.
    pub(crate) fn remove_cache_control(&mut self) {
        self.change_system_prompt(|content| Some(content.get(0)?.get("text")?.clone()));
    }

    fn change_system_prompt(&mut self, change: impl FnOnce(&serde_json::Value) -> Option<serde_json::Value>) {
        let Ok(Some(mut messages)) = self.field::<Vec<serde_json::Value>>("messages") else { return };
        let Some(system) = messages.iter_mut().find(|message| message["role"] == "system") else { return };
        if let Some(content) = change(&system["content"]) {
            system["content"] = content;
            self.fields.insert("messages".into(), raw(&messages));
        }
    }

    /// Whether `is_so` holds for one of the messages.
    pub(crate) fn any_message(&self, is_so: impl Fn(&serde_json::Value) -> bool) -> bool {
        let messages = self.field::<Vec<serde_json::Value>>("messages").ok().flatten().unwrap_or_default();
        messages.iter().any(is_so)
    }

    /// Changes the messages.
    pub(crate) fn change_messages(&mut self, change: impl FnOnce(&mut Vec<serde_json::Value>)) {
        let Ok(Some(mut messages)) = self.field::<Vec<serde_json::Value>>("messages") else { return };
        change(&mut messages);
        self.fields.insert("messages".into(), raw(&messages));
    }

    /// One field; `None` if it is missing or null.
    pub(crate) fn field<'a, T: serde::Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, LlmError> {
        let Some(value) = self.fields.get(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| LlmError::bad_request(format!("{name}: {error}")))
    }

    /// Tokens of the prompt by rule of thumb: a quarter of its characters.
    pub(crate) fn estimated_tokens(&self) -> u64 {
        let chars = |name| self.fields.get(name).map_or(0, |value| value.get().chars().count());
        (chars("messages") + chars("tools")).div_ceil(4) as u64
    }

    /// The request as it is sent to the provider.
    pub(crate) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.fields).expect("raw JSON values serialise").into()
    }

    /// A request made of JSON text, for tests.
    #[cfg(test)]
    pub(crate) fn of(value: &serde_json::Value) -> Self {
        Self::parse(value.to_string().as_bytes()).unwrap()
    }
}

fn raw(value: &(impl serde::Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("strings and literals serialise")
}

/// The axum error of a body over its limit wraps [`http_body_util::LengthLimitError`]; any other is a broken
/// connection.
fn body_error(error: &axum::Error) -> LlmError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return LlmError::too_large(MAX_BODY);
        }
        cause = inner.source();
    }
    LlmError::bad_request("the body of the request ended early")
}
