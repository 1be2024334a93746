//! The tool calls of a run: each from its start to its end, with the file that it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use mgx_client::Event;
use serde_json::Value;

use super::outcome::Change;
use super::{WIDTH, between, duration};
use crate::cli::out::short;

/// How many calls may be open at a time; further ones are shown without a duration.
const OPEN_CALLS_MAX: usize = 256;

/// The calls that have not ended.
#[derive(Debug, Default)]
pub(super) struct ToolCalls {
    open: BTreeMap<String, Call>,
}

#[derive(Debug)]
struct Call {
    tool: String,
    path: Option<String>,
    /// The path, or all arguments if there is none.
    about: String,
    at: Option<Timestamp>,
}

/// A call that has ended.
pub(super) struct EndedCall {
    /// The call as text.
    pub(super) text: String,
    /// Whether the call failed.
    pub(super) has_failed: bool,
    /// The file that the call changed.
    pub(super) change: Option<(String, Change)>,
}

impl ToolCalls {
    /// Notes the call that begins with `event`.
    pub(super) fn start(&mut self, event: &Event) {
        let arguments = arguments(event);
        let path = ["path", "file_path", "filename"].iter().find_map(|key| arguments.get(*key)?.as_str());
        let about = match (path, &arguments) {
            (Some(path), _) => path.to_owned(),
            (None, Value::Object(map)) if !map.is_empty() => arguments.to_string(),
            (None, _) => String::new(),
        };
        let call = Call {
            tool: short(event.text("tool_name"), 40),
            path: path.map(|path| short(path, 200)),
            about: short(&about, 60),
            at: event.at,
        };
        if self.open.len() < OPEN_CALLS_MAX {
            self.open.insert(event.text("tool_call_id").to_owned(), call);
        }
    }

    /// The call that ends with `event`.
    pub(super) fn end(&mut self, event: &Event) -> EndedCall {
        let call = self.open.remove(event.text("tool_call_id"));
        let tool = call.as_ref().map_or_else(|| short(event.text("tool_name"), 40), |call| call.tool.clone());
        let has_failed = event.data.get("success") == Some(&Value::Bool(false));
        let time = event.data.get("duration_ms").and_then(Value::as_u64).map(Duration::from_millis);
        let time = time.or_else(|| between(call.as_ref()?.at?, event.at?));
        let time = time.map(|time| format!(" ({})", duration(time))).unwrap_or_default();
        let about = call.as_ref().map(|call| format!(" {}", call.about)).unwrap_or_default();
        let error = if has_failed { format!(" failed: {}", error(event)) } else { String::new() };
        let mark = if has_failed { '✗' } else { '✓' };
        let text = format!("{mark} {tool}{}{time}{error}", about.trim_end());
        let path = call.and_then(|call| call.path).filter(|_| !has_failed);
        EndedCall { text, has_failed, change: path.and_then(|path| Some((path, change(&tool)?))) }
    }

    /// The call that is under way.
    pub(super) fn status(&self) -> Option<String> {
        let call = self.open.values().next_back()?;
        Some(format!("{} {}", call.tool, call.about))
    }
}

/// What a tool of this name does to its file.
fn change(tool: &str) -> Option<Change> {
    if ["write", "edit", "create", "append"].iter().any(|verb| tool.contains(verb)) {
        Some(Change::Written)
    } else if tool.contains("delete") {
        Some(Change::Deleted)
    } else {
        None
    }
}

/// Why a call failed.
fn error(event: &Event) -> String {
    let error = [event.text("error"), event.text("tool_result")].into_iter().find(|text| !text.is_empty());
    short(error.unwrap_or("it does not say why"), WIDTH)
}

/// The arguments of a call: an object, or the text of one.
fn arguments(event: &Event) -> Value {
    match event.data.get("tool_args") {
        Some(Value::String(text)) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
        Some(other) => other.clone(),
        None => Value::Null,
    }
}
