//! Takes the provider's keys out of what a model writes, also where a key is spread over several pieces of a stream.
//!
//! A container never holds a key. A model knows none either, but a server may quote the one that it was sent.

use serde_json::{Value, json};

/// What stands in the place of a key.
const REDACTED: &str = "[redacted]";

/// The shortest key that is looked for, in bytes; shorter ones occur in ordinary text.
const MIN_KEY_BYTES: usize = 8;

/// The texts of one reply. Text that may be the beginning of a key is held back until more has come.
#[derive(Debug)]
pub(crate) struct KeyFilter {
    keys: Vec<String>,
    held: Vec<(Channel, String)>,
}

/// A text of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Channel {
    /// A field of the delta.
    Field(&'static str),
    /// The arguments of the tool call with this index.
    Arguments(Value),
}

/// The texts of a delta that are filtered.
const FIELDS: [&str; 3] = ["content", "reasoning_content", "reasoning"];

impl KeyFilter {
    pub(crate) fn new(keys: &[&str]) -> Self {
        let keys = keys.iter().filter(|key| key.len() >= MIN_KEY_BYTES).map(|key| (*key).to_owned());
        Self { keys: keys.collect(), held: Vec::new() }
    }

    /// Filters a chunk of a stream; whether it was changed.
    pub(crate) fn chunk(&mut self, chunk: &mut Value) -> bool {
        if self.keys.is_empty() {
            return false;
        }
        let mut is_changed = false;
        for choice in chunk["choices"].as_array_mut().into_iter().flatten() {
            let Some(delta) = choice.get_mut("delta") else { continue };
            for field in FIELDS {
                if let Some(text) = delta.get_mut(field) {
                    is_changed |= self.filter(&Channel::Field(field), text);
                }
            }
            for call in delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
                let channel = Channel::Arguments(call.get("index").cloned().unwrap_or_default());
                if let Some(text) =
                    call.get_mut("function").and_then(|function| function.get_mut("arguments"))
                {
                    is_changed |= self.filter(&channel, text);
                }
            }
        }
        is_changed
    }

    /// The chunks with the text that was held back: when the reply ends, or says why it ended.
    pub(crate) fn flush(&mut self) -> Vec<Value> {
        let chunk = |(channel, text): (Channel, String)| {
            let delta = match channel {
                Channel::Field(field) => json!({ field: text }),
                Channel::Arguments(index) => {
                    json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] })
                }
            };
            json!({ "choices": [{ "index": 0, "delta": delta }] })
        };
        std::mem::take(&mut self.held).into_iter().map(chunk).collect()
    }

    /// A text that is whole.
    pub(crate) fn whole(&self, text: &str) -> String {
        self.keys.iter().fold(text.to_owned(), |text, key| text.replace(key, REDACTED))
    }

    fn filter(&mut self, channel: &Channel, value: &mut Value) -> bool {
        let Some(piece) = value.as_str() else { return false };
        let at = self.held.iter().position(|(other, _)| other == channel);
        let before = at.map(|at| self.held.remove(at).1).unwrap_or_default();
        let had_held = !before.is_empty();
        let mut text = self.whole(&(before + piece));
        let keep = self.keys.iter().map(|key| overlap(&text, key)).max().unwrap_or(0);
        if keep > 0 {
            let held = text.split_off(text.len() - keep);
            self.held.push((channel.clone(), held));
        }
        let is_changed = had_held || text != piece;
        if is_changed {
            *value = Value::from(text);
        }
        is_changed
    }
}

/// How many bytes at the end of `text` are the beginning of `key`.
fn overlap(text: &str, key: &str) -> usize {
    let longest = key.len().saturating_sub(1).min(text.len());
    (1..=longest)
        .rev()
        .find(|length| key.is_char_boundary(*length) && text.as_bytes().ends_with(&key.as_bytes()[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "sk-real-key-0123";

    /// What comes of a text in pieces.
    fn filtered(pieces: &[&str], as_arguments: bool) -> String {
        let mut filter = KeyFilter::new(&[KEY]);
        let mut out = String::new();
        let mut read = |chunk: &Value| {
            let delta = &chunk["choices"][0]["delta"];
            let arguments = delta["tool_calls"][0]["function"]["arguments"].as_str();
            out.push_str(arguments.or(delta["content"].as_str()).unwrap_or_default());
        };
        for piece in pieces {
            let delta = if as_arguments {
                json!({ "tool_calls": [{ "index": 1, "function": { "arguments": piece } }] })
            } else {
                json!({ "content": piece })
            };
            let mut chunk = json!({ "choices": [{ "delta": delta }] });
            filter.chunk(&mut chunk);
            read(&chunk);
        }
        filter.flush().iter().for_each(&mut read);
        out
    }

    proptest! {
        #[test]
        fn a_key_never_passes_however_it_is_cut(cuts in prop::collection::vec(0..60_usize, 0..8), arguments in any::<bool>()) {
            let text = format!("the key is {KEY}, sk-re and s");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let bounds: Vec<_> = [0].into_iter().chain(cuts).chain([text.len()]).collect();
            let pieces: Vec<_> = bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(filtered(&pieces, arguments), "the key is [redacted], sk-re and s");
        }
    }

    #[test]
    fn other_text_is_passed_on_as_it_is() {
        let mut chunk = json!({ "choices": [{ "delta": { "content": "hello" } }] });
        assert!(!KeyFilter::new(&[KEY]).chunk(&mut chunk));
        assert!(!KeyFilter::new(&["short"]).chunk(&mut chunk));
    }
}
