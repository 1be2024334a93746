//! Assembles a model's reply from the chunks of its stream, or from a whole answer.
//!
//! OpenAI-compatible services leave out, repeat, misplace or misspell almost every field. So each chunk is read as plain
//! JSON: a field that is not understood is passed over, and never costs the reply.

use serde_json::{Map, Value};

use super::arguments::Arguments;
use super::blocks::Blocks;
use super::chunk::{count, first, is_error, text_of};
use super::fragments::{FragmentKey, Fragments, position};
use super::piece::Piece;
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

/// A reply of which some chunks have arrived.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    content: String,
    thoughts: Thoughts,
    reasoning: String,
    /// The field in which reasoning came, if it has one of its own.
    reasoning_field: Option<&'static str>,
    /// The field of reasoning that came without text.
    empty_reasoning_field: Option<&'static str>,
    /// `reasoning_details` (`OpenRouter`).
    reasoning_details: Blocks,
    /// `thinking_blocks` (`LiteLLM`, for Anthropic).
    thinking_blocks: Blocks,
    /// The thoughts among the parts of a content that is a list.
    thinking_parts: Blocks,
    /// `extra_content` of the message (Gemini).
    extra_content: Option<Value>,
    calls: Vec<Fragments>,
    /// The tools that the request offered.
    tools: Vec<String>,
    usage: Usage,
    finish: FinishReason,
    is_done: bool,
    /// The transfer of the answer broke.
    is_broken: bool,
    /// Data that is no JSON, if nothing else comes.
    unreadable: Option<String>,
}

impl Assembly {
    /// The reply to a request that offered `tools`.
    pub(crate) fn new(tools: Vec<String>) -> Self {
        Self { tools, ..Self::default() }
    }

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
        if is_error(&chunk) {
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
        let mut pieces = Vec::new();
        self.add_delta(&choice["delta"], &mut pieces)?;
        self.add_message(&choice["message"], &mut pieces)?;
        self.add_text(choice["text"].as_str().unwrap_or_default(), &mut pieces)?;
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

    /// The reply, after the end of its stream. `None` if the stream broke in the middle of it: it has no end mark, and what
    /// has come of it is not whole.
    ///
    /// # Errors
    /// A text: nothing of the answer could be read.
    pub(crate) fn finish(mut self, ids: &mut CallIds) -> Result<Option<Reply>, String> {
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
        let are_whole = |calls: &[Fragments]| {
            calls.iter().all(|call| {
                !call.arguments.is_empty()
                    && matches!(Arguments::read(&call.arguments, true), Arguments::Object { .. })
            })
        };
        if !has_end && (self.is_broken || is_empty || !are_whole(&self.calls)) {
            return Ok(None);
        }
        let mut has_unread_call = false;
        if self.calls.is_empty() && self.finish != FinishReason::Length {
            match text_calls::read(&self.content, &self.tools) {
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
                None => has_unread_call = !self.tools.is_empty() && text_calls::is_like_a_call(&self.content),
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
        // Moonshot and DeepSeek want the field back even if it was empty
        if let Some(field) = self.reasoning_field.or(self.empty_reasoning_field) {
            let text = if self.reasoning_field.is_some() { self.reasoning.clone() } else { String::new() };
            provider_fields.insert(field.to_owned(), Value::from(text));
        }
        for (field, Blocks(blocks)) in
            [("reasoning_details", self.reasoning_details), ("thinking_blocks", self.thinking_blocks)]
        {
            if !blocks.is_empty() {
                provider_fields.insert(field.to_owned(), Value::from(blocks));
            }
        }
        if self.thinking_parts.are_signed() {
            let mut parts = self.thinking_parts.0;
            if !self.content.is_empty() {
                parts.push(serde_json::json!({ "type": "text", "text": self.content }));
            }
            provider_fields.insert("content".to_owned(), Value::from(parts));
        }
        if let Some(extra) = self.extra_content {
            provider_fields.insert("extra_content".to_owned(), extra);
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

    /// A whole message: that of an answer that is no stream, or one that repeats what has come in deltas.
    fn add_message(&mut self, message: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        let Value::Object(fields) = message else { return Ok(()) };
        let has_text = !self.content.is_empty();
        let has_reasoning = !self.reasoning.is_empty();
        let has_calls = !self.calls.is_empty();
        let is_new = |key: &str| match key {
            "content" | "refusal" => !has_text,
            "reasoning_content" | "reasoning" | "reasoning_details" | "thinking_blocks" => !has_reasoning,
            "tool_calls" | "function_call" => !has_calls,
            _ => true,
        };
        let new =
            fields.iter().filter(|(key, _)| is_new(key)).map(|(key, value)| (key.clone(), value.clone()));
        self.add_delta(&Value::Object(new.collect()), pieces)
    }

    fn add_delta(&mut self, delta: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        for field in ["reasoning_content", "reasoning"] {
            match delta[field].as_str() {
                Some("") => {
                    self.empty_reasoning_field.get_or_insert(field);
                }
                // some services send both, with the same text
                Some(text) if *self.reasoning_field.get_or_insert(field) == field => {
                    self.add_reasoning(text, pieces)?;
                }
                Some(_) | None => {}
            }
        }
        self.add_blocks(delta, pieces)?;
        if delta["extra_content"].is_object() {
            self.extra_content = Some(delta["extra_content"].clone());
        }
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
        let inner =
            [kind, "text", "thinking", "content", "summary"].into_iter().find_map(|key| part.get(key));
        let text = inner.map(text_of).unwrap_or_default();
        if matches!(kind, "thinking" | "reasoning" | "thought") {
            self.thinking_parts.add(part).map_err(|_| BadChunk::TooLarge)?;
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

    /// Blocks that have to come back as they were, signatures included; their text is shown if it has no other field.
    fn add_blocks(&mut self, delta: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        for field in ["reasoning_details", "thinking_blocks"] {
            for block in delta[field].as_array().into_iter().flatten() {
                let text = ["text", "summary", "thinking"].iter().find_map(|key| block[*key].as_str());
                if let Some(text) = text.filter(|_| self.reasoning_field.is_none()) {
                    self.add_reasoning(text, pieces)?;
                }
                let blocks = if field == "thinking_blocks" {
                    &mut self.thinking_blocks
                } else {
                    &mut self.reasoning_details
                };
                blocks.add(block).map_err(|_| BadChunk::TooLarge)?;
            }
        }
        Ok(())
    }

    fn add_call(&mut self, fragment: &Value, pieces: &mut Vec<Piece>) -> Result<(), BadChunk> {
        let function = fragment.get("function").filter(|it| it.is_object()).unwrap_or(fragment);
        let id = text_of(&fragment["id"]);
        let name = function["name"].as_str().unwrap_or_default();
        let index = fragment["index"].as_i64().or_else(|| fragment["index"].as_str()?.trim().parse().ok());
        let text = match &function["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            whole => whole.to_string(),
        };
        let key = FragmentKey { index, id: &id, name, has_arguments: !text.is_empty() };
        let position = match position(&self.calls, key, &self.tools) {
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
        if position >= MAX_CALLS || text.is_empty() {
            return Ok(());
        }
        call.add_arguments(&text);
        if call.arguments.len() > MAX_TEXT_BYTES {
            return Err(BadChunk::TooLarge);
        }
        pieces.push(Piece::Arguments { tool: call.name.clone(), call: position, text });
        Ok(())
    }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
