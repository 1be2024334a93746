//! Assembles a model's reply from the chunks of its stream, or from a whole answer.
//!
//! OpenAI-compatible services leave out, repeat, misplace or misspell almost every field. So each chunk is read as plain
//! JSON: a field that is not understood is passed over, and never costs the reply.

use serde_json::{Map, Value};

use super::arguments::{Arguments, is_whole};
use super::fragments::Fragments;
use super::thoughts::{Separated, Thoughts, without_opening_tag};
use super::{CallIds, FinishReason, Reply, ToolCall, Usage, clean_name, text_calls};

/// The longest content, the longest reasoning, and the longest arguments of one tool call, in bytes.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// How many tools one reply may call.
pub(crate) const MAX_CALLS: usize = 64;

/// How many calls of a reply are told apart; those beyond [`MAX_CALLS`] are counted only.
const MAX_COUNTED_CALLS: usize = 1024;

/// What is wrong with a chunk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BadChunk {
    /// The service reports an error in mid-stream: its JSON.
    Error(Value),
    /// The reply is longer than the limits.
    TooLarge,
}

/// What a chunk adds, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// To the text.
    Text(String),
    /// To the reasoning.
    Reasoning(String),
    /// To the arguments of a call.
    Arguments {
        /// The tool.
        tool: String,
        /// The number of the call in the reply.
        call: usize,
        /// The text.
        text: String,
    },
}

/// A reply of which some chunks have arrived.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    content: String,
    thoughts: Thoughts,
    reasoning: String,
    /// The field in which reasoning came, if it has one of its own.
    reasoning_field: Option<&'static str>,
    reasoning_details: Vec<Value>,
    calls: Vec<Fragments>,
    usage: Usage,
    finish: FinishReason,
    is_done: bool,
    /// The transfer of the answer broke.
    is_broken: bool,
    /// Data that is no JSON, if nothing else comes.
    unreadable: Option<String>,
}

impl Assembly {
    /// Adds the data of one event, or a whole answer.
    pub(crate) fn push(&mut self, data: &str) -> Result<Vec<Piece>, BadChunk> {
        let data = data.trim();
        if data == "[DONE]" {
            self.is_done = true;
        }
        if data.is_empty() || self.is_done {
            return Ok(Vec::new());
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            self.unreadable.get_or_insert_with(|| data.chars().take(200).collect());
            return Ok(Vec::new());
        };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(BadChunk::Error(chunk));
        }
        self.add_usage(&chunk["usage"]);
        let Some(choice) = chunk["choices"].as_array().and_then(|choices| first(choices)) else {
            return Ok(Vec::new());
        };
        if let Some(reason) = choice["finish_reason"].as_str().map(FinishReason::of)
            && reason != FinishReason::Missing
        {
            self.finish = reason;
        }
        let delta = ["delta", "message"].iter().find_map(|key| choice.get(*key).filter(|it| it.is_object()));
        let mut pieces = Vec::new();
        match delta {
            Some(delta) => self.add_delta(delta, &mut pieces)?,
            None => self.add_text(choice["text"].as_str().unwrap_or_default(), &mut pieces)?,
        }
        Ok(pieces)
    }

    /// Whether the service has said that the reply is over.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Notes that the transfer of the answer broke, which is another thing than its end without an end mark.
    pub(crate) fn broke(&mut self) {
        self.is_broken = true;
    }

    /// The reply, after the end of its stream, to a request that offered `tools`. `None` if the stream broke in the middle
    /// of it: it has no end mark, and what has come of it is not whole.
    ///
    /// # Errors
    /// A text: nothing of the answer could be read.
    pub(crate) fn finish(mut self, tools: &[String], ids: &mut CallIds) -> Result<Option<Reply>, String> {
        let Separated { said, thought } = self.thoughts.finish();
        self.content.push_str(&said);
        self.reasoning.push_str(&thought);
        if self.reasoning.is_empty()
            && let Some((thought, said)) = without_opening_tag(&self.content)
        {
            (self.reasoning, self.content) = (thought, said);
        }
        let has_end = self.is_done || self.finish != FinishReason::Missing;
        let is_empty = self.content.is_empty() && self.reasoning.is_empty() && self.calls.is_empty();
        if let Some(text) = self.unreadable.take()
            && is_empty
        {
            return Err(text);
        }
        if !has_end
            && (self.is_broken || is_empty || !self.calls.iter().all(|call| is_whole(&call.arguments)))
        {
            return Ok(None);
        }
        let mut has_unread_call = false;
        if self.calls.is_empty() && self.finish != FinishReason::Length {
            match text_calls::read(&self.content, tools) {
                Some((text, calls)) => {
                    self.content = text;
                    self.calls = calls
                        .into_iter()
                        .map(|call| Fragments {
                            name: call.name,
                            arguments: call.arguments,
                            ..Fragments::default()
                        })
                        .collect();
                }
                None => has_unread_call = !tools.is_empty() && text_calls::is_like_a_call(&self.content),
            }
        }
        // brackets are closed only where the model itself has ended
        let is_cut = !matches!(self.finish, FinishReason::Stop | FinishReason::ToolCalls);
        let calls_left_out = self.calls.len().saturating_sub(MAX_CALLS);
        let last = self.calls.len().saturating_sub(1);
        let calls = self.calls.into_iter().enumerate().take(MAX_CALLS).map(|(number, call)| ToolCall {
            id: ids.unique(&call.id),
            name: clean_name(&call.name),
            arguments: Arguments::read(&call.arguments, is_cut && number == last),
            provider_fields: call.provider_fields,
        });
        let calls = calls.collect();
        let mut provider_fields = Map::new();
        if let Some(field) = self.reasoning_field {
            provider_fields.insert(field.to_owned(), Value::from(self.reasoning.clone()));
        }
        if !self.reasoning_details.is_empty() {
            provider_fields.insert("reasoning_details".to_owned(), Value::from(self.reasoning_details));
        }
        Ok(Some(Reply {
            content: self.content,
            reasoning: self.reasoning,
            calls,
            calls_left_out,
            finish: self.finish,
            usage: self.usage,
            has_unread_call,
            provider_fields,
        }))
    }

    fn add_usage(&mut self, usage: &Value) {
        let tokens = |names: [&str; 2]| names.iter().find_map(|name| count(&usage[*name]));
        if let Some(prompt) = tokens(["prompt_tokens", "input_tokens"]) {
            self.usage.prompt_tokens = prompt;
        }
        if let Some(completion) = tokens(["completion_tokens", "output_tokens"]) {
            self.usage.completion_tokens = completion;
        }
    }

    fn add_delta(&mut self, delta: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        for field in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta[field].as_str().filter(|text| !text.is_empty()) {
                // some services send both, with the same text
                if *self.reasoning_field.get_or_insert(field) == field {
                    self.add_reasoning(text, pieces)?;
                }
            }
        }
        self.add_details(&delta["reasoning_details"], pieces)?;
        match &delta["content"] {
            Value::String(text) => self.add_text(text, pieces)?,
            Value::Array(parts) => parts.iter().try_for_each(|part| self.add_part(part, pieces))?,
            part @ Value::Object(_) => self.add_part(part, pieces)?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        if let Some(text) = delta["refusal"].as_str() {
            self.add_text(text, pieces)?;
        }
        match &delta["tool_calls"] {
            Value::Array(fragments) => {
                fragments.iter().try_for_each(|fragment| self.add_call(fragment, pieces))?;
            }
            fragment @ Value::Object(_) => self.add_call(fragment, pieces)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        if delta["function_call"].is_object() {
            // the form before `tool_calls`: one call, without id
            let fragment = serde_json::json!({ "index": 0, "function": delta["function_call"] });
            self.add_call(&fragment, pieces)?;
        }
        Ok(())
    }

    /// A part of a content that is a list: text, or a thought (Mistral, Anthropic).
    fn add_part(&mut self, part: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        let kind = part["type"].as_str().unwrap_or("text");
        let inner = [kind, "text", "thinking", "content"].into_iter().find_map(|key| part.get(key));
        let text = inner.map(text_of).unwrap_or_default();
        if matches!(kind, "thinking" | "reasoning" | "thought") {
            self.add_reasoning(&text, pieces)
        } else {
            self.add_text(&text, pieces)
        }
    }

    fn add_text(&mut self, text: &str, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        let Separated { said, thought } = self.thoughts.push(text);
        self.add_reasoning(&thought, pieces)?;
        if said.is_empty() {
            return Ok(());
        }
        self.content.push_str(&said);
        pieces.push(Piece::Text(said));
        if self.content.len() > MAX_TEXT_BYTES { Err(BadChunk::TooLarge) } else { Ok(()) }
    }

    fn add_reasoning(&mut self, text: &str, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        if text.is_empty() {
            return Ok(());
        }
        self.reasoning.push_str(text);
        pieces.push(Piece::Reasoning(text.to_owned()));
        if self.reasoning.len() > MAX_TEXT_BYTES { Err(BadChunk::TooLarge) } else { Ok(()) }
    }

    /// `reasoning_details` (`OpenRouter`): blocks that have to come back as they were, signatures included. The fragments
    /// of a block have its type and index.
    fn add_details(&mut self, details: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        for detail in details.as_array().into_iter().flatten() {
            let is_full = self.reasoning_details.len() >= MAX_COUNTED_CALLS;
            if self.reasoning_field.is_none()
                && let Some(text) = ["text", "summary"].iter().find_map(|key| detail[*key].as_str())
            {
                self.add_reasoning(text, pieces)?;
            }
            let same = |other: &&mut Value| {
                other["type"] == detail["type"]
                    && other["index"] == detail["index"]
                    && other["id"] == detail["id"]
            };
            match (self.reasoning_details.last_mut().filter(|other| same(other)), detail) {
                (Some(Value::Object(block)), Value::Object(fragment)) => {
                    for (key, value) in fragment {
                        let is_text = matches!(key.as_str(), "text" | "summary" | "data");
                        match (block.get_mut(key), value) {
                            (Some(Value::String(whole)), Value::String(more)) if is_text => {
                                whole.push_str(more);
                            }
                            (_, Value::Null) => {}
                            (_, value) => {
                                block.insert(key.clone(), value.clone());
                            }
                        }
                    }
                }
                (Some(_) | None, _) if is_full => return Err(BadChunk::TooLarge),
                (Some(_) | None, detail) => self.reasoning_details.push(detail.clone()),
            }
        }
        Ok(())
    }

    fn add_call(&mut self, fragment: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        let function = fragment.get("function").filter(|it| it.is_object()).unwrap_or(fragment);
        let id = text_of(&fragment["id"]);
        let name = function["name"].as_str().unwrap_or_default();
        let index = fragment["index"].as_i64();
        let position = match self.position(index, &id, name) {
            Some(position) => position,
            None if self.calls.len() == MAX_COUNTED_CALLS => return Err(BadChunk::TooLarge),
            None => {
                self.calls.push(Fragments { index, ..Fragments::default() });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[position];
        if call.id.is_empty() {
            call.id = id;
        }
        call.add_name(name);
        if let Value::Object(fields) = fragment {
            for (key, value) in fields {
                let is_ours =
                    matches!(key.as_str(), "index" | "id" | "type" | "function" | "name" | "arguments");
                if !is_ours && !value.is_null() {
                    call.provider_fields.insert(key.clone(), value.clone());
                }
            }
        }
        let text = match &function["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            whole => whole.to_string(),
        };
        if position >= MAX_CALLS || text.is_empty() {
            return Ok(());
        }
        call.arguments.push_str(&text);
        if call.arguments.len() > MAX_TEXT_BYTES {
            return Err(BadChunk::TooLarge);
        }
        pieces.push(Piece::Arguments { tool: call.name.clone(), call: position, text });
        Ok(())
    }

    /// The call that a fragment belongs to; `None`: it begins a new one.
    fn position(&self, index: Option<i64>, id: &str, name: &str) -> Option<usize> {
        let same_index = |call: &Fragments| index.is_none() || call.index == index;
        if !id.is_empty() {
            // two calls may share an id, and all calls may share an index; a call's id may come after its name
            return self.calls.iter().rposition(|call| {
                same_index(call) && (call.id == id || (call.id.is_empty() && call.arguments.is_empty()))
            });
        }
        let position = self.calls.iter().rposition(same_index)?;
        let call = &self.calls[position];
        // a name after whole arguments begins the next call, if nothing else tells them apart
        let begins = !name.is_empty() && !call.name.is_empty() && is_whole(&call.arguments);
        (!begins).then_some(position)
    }
}

/// The first choice; there is one only, unless a service answers more than it was asked for.
fn first(choices: &[Value]) -> Option<&Value> {
    choices.iter().find(|choice| choice["index"].as_i64().unwrap_or(0) == 0).or_else(|| choices.first())
}

/// A text, or the texts of a list of parts.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| text_of(part.get("text").unwrap_or(part))).collect(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Object(_) => String::new(),
    }
}

/// A count of tokens; services also send fractions, and negative numbers, which are none.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| (1.0..1e15).contains(number))?;
        format!("{number:.0}").parse().ok()
    })
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
