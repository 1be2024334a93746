//! Blocks that a provider wants to have sent back as they were, signatures included, put together from their fragments.

use serde_json::Value;

/// The most blocks of a reply.
const MAX_BLOCKS: usize = 1024;

/// The fields of a block whose text comes in pieces.
const TEXTS: [&str; 5] = ["text", "summary", "data", "thinking", "arguments"];

/// The blocks of a reply so far.
#[derive(Debug, Default)]
pub(super) struct Blocks(pub(super) Vec<Value>);

/// There are too many blocks.
#[derive(Debug)]
pub(super) struct TooMany;

impl Blocks {
    /// Adds a fragment: to the last block if it has the same type, index and id, or else as the next block.
    pub(super) fn add(&mut self, fragment: &Value) -> Result<(), TooMany> {
        let is_same = |other: &&mut Value| {
            other["type"] == fragment["type"]
                && other["index"] == fragment["index"]
                && (other["id"] == fragment["id"] || fragment["id"].is_null())
        };
        let is_full = self.0.len() >= MAX_BLOCKS;
        match (self.0.last_mut().filter(is_same), fragment) {
            (Some(Value::Object(block)), Value::Object(fields)) => {
                for (key, value) in fields {
                    match (block.get_mut(key), value) {
                        (_, Value::Null) => {}
                        (Some(Value::String(whole)), Value::String(more))
                            if TEXTS.contains(&key.as_str()) =>
                        {
                            whole.push_str(more);
                        }
                        (Some(Value::Array(whole)), Value::Array(more)) => whole.extend(more.iter().cloned()),
                        (Some(Value::String(whole)), Value::String(more))
                            if more.is_empty() && !whole.is_empty() => {}
                        (_, value) => {
                            block.insert(key.clone(), value.clone());
                        }
                    }
                }
            }
            (Some(_) | None, _) if is_full => return Err(TooMany),
            (Some(_) | None, fragment) => self.0.push(fragment.clone()),
        }
        Ok(())
    }

    /// Whether a block is signed: such blocks are only worth something together and as they were.
    pub(super) fn are_signed(&self) -> bool {
        self.0.iter().any(|block| {
            let signature = |value: &Value| value["signature"].as_str().is_some_and(|text| !text.is_empty());
            signature(block) || block["summary"].as_array().is_some_and(|parts| parts.iter().any(signature))
        })
    }
}
