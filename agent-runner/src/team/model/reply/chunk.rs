//! Reads the parts of a chunk, in whatever types they come.

use mgx_protocol::reply_error;
use serde_json::Value;

/// Whether a chunk reports an error.
pub(super) fn is_error(chunk: &Value) -> bool {
    let has_choice = chunk["choices"].as_array().is_some_and(|choices| !choices.is_empty());
    chunk.get("error").is_some_and(|error| reply_error::is_reported(error, has_choice))
}

/// The first choice; there is one only, unless a service answers more than it was asked for.
pub(super) fn first(choices: &[Value]) -> Option<&Value> {
    choices.iter().find(|choice| choice["index"].as_i64().unwrap_or(0) == 0).or_else(|| choices.first())
}

/// A text, or the texts of a list of parts.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| text_of(part.get("text").unwrap_or(part))).collect(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Object(_) => String::new(),
    }
}

/// A count of tokens; services also send fractions, and negative numbers, which are none.
pub(super) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| (1.0..1e15).contains(number))?;
        format!("{number:.0}").parse().ok()
    })
}
