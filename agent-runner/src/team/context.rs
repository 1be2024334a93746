//! The model's context: how many tokens a request has, and what is left out of it so that it fits. Pure.
//!
//! Tokens are estimated from bytes, in the ratio that the provider's own counts show. What is left out goes from the least
//! to the most important: results of old tool calls, contents that old calls wrote, and then whole old turns.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The context of a model that names none, in tokens: what current models have at least.
const DEFAULT_TOKENS: u64 = 128_000;

/// The share of the context that a request may use; the rest is for the reply, and for the error of the estimate.
const USABLE: f64 = 0.75;

/// Bytes of JSON to a token, before a provider has counted; between those of English and of code.
const BYTES_PER_TOKEN: f64 = 3.5;

/// The range of ratios that are believed: some providers report counts that are made up.
const BELIEVED: std::ops::RangeInclusive<f64> = 1.2..=5.0;

/// How many of the newest messages stay whole: rather six, and two in any case.
const NEWEST_KEPT: [usize; 2] = [6, 2];

/// The longest text in an old call that is kept, in bytes.
const MAX_OLD_TEXT_BYTES: usize = 400;

/// The smallest context that is believed, in tokens.
const MIN_TOKENS: u64 = 1_000;

/// The contexts of the models of a team: what is learnt of one says nothing of another.
#[derive(Debug)]
pub(crate) struct Contexts {
    tokens: u64,
    by_model: BTreeMap<String, Context>,
}

impl Contexts {
    /// Contexts of so many tokens each; 0: unknown.
    pub(crate) fn new(tokens: u64) -> Self {
        Self { tokens, by_model: BTreeMap::new() }
    }

    /// That of `model`.
    pub(crate) fn of(&mut self, model: &str) -> &mut Context {
        let tokens = self.tokens;
        self.by_model.entry(model.to_owned()).or_insert_with(|| Context::new(tokens))
    }
}

/// The context of a role's model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    tokens: u64,
    bytes_per_token: f64,
}

impl Context {
    /// A context of so many tokens; 0: unknown.
    pub(crate) fn new(tokens: u64) -> Self {
        let tokens = if tokens == 0 { DEFAULT_TOKENS } else { tokens.max(MIN_TOKENS) };
        Self { tokens, bytes_per_token: BYTES_PER_TOKEN }
    }

    /// How many tokens a request may have.
    pub(crate) fn usable(self) -> u64 {
        scaled(self.tokens, USABLE)
    }

    /// The tokens of a text of so many bytes, as estimated.
    pub(crate) fn tokens(self, bytes: usize) -> u64 {
        scaled(bytes as u64, 1.0 / self.bytes_per_token)
    }

    /// The bytes of so many tokens, as estimated.
    pub(crate) fn bytes(self, tokens: u64) -> usize {
        usize::try_from(scaled(tokens, self.bytes_per_token)).unwrap_or(usize::MAX)
    }

    /// Learns from what the provider has counted for `messages`.
    pub(crate) fn observe(&mut self, messages: &[Value], prompt_tokens: u64) {
        if prompt_tokens == 0 {
            return;
        }
        let ratio = ratio(size(messages), prompt_tokens);
        if BELIEVED.contains(&ratio) {
            self.bytes_per_token = ratio;
        }
    }

    /// Learns from a refusal of `messages`, which often names the context's size.
    pub(crate) fn refused(&mut self, messages: &[Value], message: &str) {
        let estimate = self.tokens(size(messages));
        // other limits may be named before it
        let lower = message.to_ascii_lowercase();
        let after = ["context", "maximum"].iter().filter_map(|word| lower.find(word)).min().unwrap_or(0);
        let named = numbers(&message[after..])
            .find(|number| (MIN_TOKENS..self.tokens.max(MIN_TOKENS + 1)).contains(number));
        // without a number, or after one that was not enough, the request itself says how much is too much
        self.tokens = named.unwrap_or(self.tokens).min(scaled(estimate.max(MIN_TOKENS), 0.9)).max(MIN_TOKENS);
    }

    /// Shortens `messages` until they fit; the data of the event that reports it, if anything was left out.
    pub(crate) fn fit(self, messages: &mut Vec<Value>) -> Option<Value> {
        let before = self.tokens(size(messages));
        let limit = self.usable();
        if before <= limit {
            return None;
        }
        // with room for some more turns, so that not every request is another one, which no provider's cache knows
        let goal = scaled(limit, 0.8);
        let mut how = Vec::new();
        for kept in NEWEST_KEPT {
            for (name, shorten) in STEPS {
                let mut at = 2;
                while self.tokens(size(messages)) > goal && at + kept < messages.len() {
                    if shorten(&mut messages[at]) && !how.contains(&name) {
                        how.push(name);
                    }
                    at += 1;
                }
            }
        }
        while self.tokens(size(messages)) > goal && drop_oldest_turn(messages) {
            if !how.contains(&"turns") {
                how.push("turns");
            }
        }
        // what is left is the task itself and the newest turns
        for message in messages.iter_mut().skip(1) {
            if self.tokens(size(std::slice::from_ref(message))) > scaled(limit, 0.5) {
                let kept = self.bytes(scaled(limit, 0.4));
                if let Some(text) = message["content"].as_str() {
                    message["content"] = json!(without_middle(text, kept));
                    how.push("text");
                }
            }
        }
        let after = self.tokens(size(messages));
        (!how.is_empty()).then(|| json!({ "before_tokens": before, "after_tokens": after, "how": how }))
    }
}

/// A way to shorten one message; whether it has.
type Shorten = fn(&mut Value) -> bool;

/// The ways to shorten old messages, in their order.
const STEPS: [(&str, Shorten); 2] = [("results", shorten_result), ("written", shorten_arguments)];

fn shorten_result(message: &mut Value) -> bool {
    let long = message["content"].as_str().is_some_and(|text| text.len() > MAX_OLD_TEXT_BYTES);
    if message["role"] != "tool" || !long {
        return false;
    }
    message["content"] = json!("(left out to save room; use the tool again if you need it)");
    true
}

fn shorten_arguments(message: &mut Value) -> bool {
    let mut has_shortened = false;
    for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
        let Some(Ok(Value::Object(mut arguments))) =
            call["function"]["arguments"].as_str().map(serde_json::from_str::<Value>)
        else {
            continue;
        };
        for value in arguments.values_mut().filter(|value| value.to_string().len() > MAX_OLD_TEXT_BYTES) {
            let bytes = value.as_str().map_or_else(|| value.to_string().len(), str::len);
            *value = json!(format!("({bytes} bytes, left out to save room; the file holds them)"));
            has_shortened = true;
        }
        call["function"]["arguments"] = json!(Value::Object(arguments).to_string());
    }
    has_shortened
}

/// Leaves out the oldest reply after the task, with the results of its calls; whether there was one that may go.
fn drop_oldest_turn(messages: &mut Vec<Value>) -> bool {
    const NOTE: &str =
        "(Earlier turns of this work are left out to save room. The files hold what was done in them.)";
    let begin = if messages.get(2).is_some_and(|message| message["content"] == NOTE) { 3 } else { 2 };
    // a turn is a reply and all that follows it up to the next one
    let next = (begin + 1..messages.len()).find(|at| messages[*at]["role"] == "assistant");
    let Some(next) = next.filter(|next| next + 2 < messages.len()) else { return false };
    messages.drain(begin..next);
    if begin == 2 {
        messages.insert(2, json!({ "role": "user", "content": NOTE }));
    }
    true
}

/// `text` with about `limit` bytes: its beginning and its end.
pub(crate) fn without_middle(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(limit / 2);
    let tail = text.ceil_char_boundary(text.len() - limit / 2);
    format!("{}\n… ({} bytes left out to save room) …\n{}", &text[..head], tail - head, &text[tail..])
}

/// The bytes of messages as JSON.
fn size(messages: &[Value]) -> usize {
    messages.iter().map(|message| message.to_string().len()).sum()
}

fn numbers(text: &str) -> impl Iterator<Item = u64> {
    text.split(|c: char| !(c.is_ascii_digit() || c == ','))
        .filter_map(|digits| digits.replace(',', "").parse().ok())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "token counts are estimates, far below 2^52 and not negative"
)]
fn scaled(number: u64, factor: f64) -> u64 {
    (number as f64 * factor) as u64
}

#[expect(clippy::cast_precision_loss, reason = "both are far below 2^52")]
fn ratio(bytes: usize, tokens: u64) -> f64 {
    bytes as f64 / tokens as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(number: usize, bytes: usize) -> [Value; 2] {
        let arguments = json!({ "path": format!("f{number}"), "content": "x".repeat(bytes) }).to_string();
        let call =
            json!({ "id": number.to_string(), "function": { "name": "write_file", "arguments": arguments } });
        [
            json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
            json!({ "role": "tool", "tool_call_id": number.to_string(), "content": "y".repeat(bytes) }),
        ]
    }

    fn conversation(turns: usize, bytes: usize) -> Vec<Value> {
        let task = [json!({ "role": "system", "content": "s" }), json!({ "role": "user", "content": "t" })];
        task.into_iter().chain((0..turns).flat_map(|number| turn(number, bytes))).collect()
    }

    /// Every result answers a call that is there, and every call has its result.
    fn is_valid(messages: &[Value]) -> bool {
        let calls: Vec<_> = messages
            .iter()
            .flat_map(|message| message["tool_calls"].as_array().cloned().unwrap_or_default())
            .map(|call| call["id"].clone())
            .collect();
        let results: Vec<_> = messages
            .iter()
            .filter(|message| message["role"] == "tool")
            .map(|message| message["tool_call_id"].clone())
            .collect();
        calls == results && messages[0]["role"] == "system" && messages[1]["role"] == "user"
    }

    #[test]
    fn what_fits_is_left_alone() {
        let mut messages = conversation(3, 1000);
        let before = messages.clone();
        assert_eq!(Context::new(0).fit(&mut messages), None);
        assert_eq!(messages, before);
    }

    #[test]
    fn old_results_go_first_then_what_was_written_then_whole_turns() {
        let context = Context::new(16_000);
        for (turns, bytes, how) in [(8, 3_500, "results"), (12, 4_000, "written"), (400, 1_000, "turns")] {
            let mut messages = conversation(turns, bytes);
            let newest = messages[messages.len() - 2..].to_vec();
            let event = context.fit(&mut messages).unwrap();
            assert!(event["how"].as_array().unwrap().iter().any(|step| step == how), "{event}");
            assert!(context.tokens(size(&messages)) <= context.usable(), "{event}");
            assert!(is_valid(&messages), "{turns}");
            assert_eq!(messages[messages.len() - 2..], newest, "the newest turn is whole");
        }
    }

    #[test]
    fn one_huge_text_is_cut_in_its_middle() {
        let context = Context::new(8_000);
        let mut messages = conversation(1, 100_000);
        messages[1]["content"] = json!("z".repeat(100_000));
        context.fit(&mut messages).unwrap();
        assert!(messages[1]["content"].as_str().unwrap().contains("bytes left out"));
        assert!(is_valid(&messages));
    }

    #[test]
    fn the_provider_says_how_large_the_context_is() {
        let messages = conversation(40, 1_000);
        let mut context = Context::new(200_000);
        context.observe(&messages, size(&messages) as u64 / 3);
        assert!((context.bytes_per_token - 3.0).abs() < 0.1);
        context.observe(&messages, 5);
        assert!((context.bytes_per_token - 3.0).abs() < 0.1, "a count that is made up is not believed");
        context.refused(
            &messages,
            "This model's maximum context length is 16,384 tokens. However, you sent 27000.",
        );
        assert_eq!(context.tokens, 16_384);
        let mut other = Context::new(200_000);
        other
            .refused(&messages, "max_tokens is too large: 4096. The maximum context length is 20000 tokens.");
        assert_eq!(other.tokens, 20_000);
        let before = context.tokens(size(&messages));
        context.refused(&messages, "too long");
        assert!(context.tokens < before);
    }
}
