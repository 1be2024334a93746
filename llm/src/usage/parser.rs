//! Finds the usage that a model reports in its answer, while the answer's bytes pass by.

use mgx_protocol::sse;
use serde_json::Value;

/// The longest event of a stream, and the longest answer in one piece, that is read, in bytes. The usage of longer ones
/// is estimated.
const MAX_READ: usize = 1024 * 1024;

/// Tokens of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenCount {
    /// Tokens sent, with those that the provider had cached.
    pub(crate) prompt: u64,
    /// Tokens among them that the provider had cached.
    pub(crate) cached: u64,
    /// Tokens received.
    pub(crate) completion: u64,
}

/// Reads an answer that arrives in pieces.
#[derive(Debug)]
pub(crate) struct UsageParser {
    body: Body,
    found: Found,
}

/// The part of the answer that is not read yet.
#[derive(Debug)]
enum Body {
    /// Server-sent events.
    Stream {
        events: sse::Parser,
        /// Bytes since the last event that was read.
        unread: u64,
        /// Whether an event among them is longer than [`MAX_READ`].
        is_too_long: bool,
    },
    /// One JSON object so far.
    Json(Vec<u8>),
    /// One JSON object that is longer than [`MAX_READ`].
    TooLong,
}

/// What was found in the answer.
#[derive(Debug, Default)]
struct Found {
    reported: Option<TokenCount>,
    /// Characters that the model wrote.
    chars: u64,
}

impl UsageParser {
    pub(crate) fn new(is_stream: bool) -> Self {
        let body = if is_stream {
            Body::Stream { events: sse::Parser::new(MAX_READ), unread: 0, is_too_long: false }
        } else {
            Body::Json(Vec::new())
        };
        Self { body, found: Found::default() }
    }

    /// Takes the next bytes of the answer.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        match &mut self.body {
            Body::Stream { events, unread, is_too_long } => loop {
                let before = chunk.len();
                let event = events.next_frame(&mut chunk);
                *unread += (before - chunk.len()) as u64;
                match event {
                    Ok(Some(event)) => {
                        if std::mem::take(is_too_long) {
                            self.found.chars += unread.saturating_sub(event.data.len() as u64);
                        }
                        *unread = 0;
                        self.found.read_json(event.data.as_bytes());
                    }
                    Ok(None) => return,
                    Err(sse::TooLong { .. }) => *is_too_long = true,
                }
            },
            Body::Json(bytes) if bytes.len() + chunk.len() > MAX_READ => {
                self.found.chars += (bytes.len() + chunk.len()) as u64;
                self.body = Body::TooLong;
            }
            Body::Json(bytes) => bytes.extend_from_slice(chunk),
            Body::TooLong => self.found.chars += chunk.len() as u64,
        }
    }

    /// Takes the end of the answer, and returns the usage that the model reported, if it did.
    pub(crate) fn finish(&mut self) -> Option<TokenCount> {
        // some providers do not end the last event
        if let Body::Stream { .. } = self.body {
            self.push(b"\n\n");
        }
        match &self.body {
            Body::Stream { unread, is_too_long, .. } => {
                self.found.chars += if *is_too_long { *unread } else { 0 };
            }
            Body::Json(answer) => self.found.read_json(answer),
            Body::TooLong => {}
        }
        self.found.reported
    }

    /// Tokens of the answer by rule of thumb: a quarter of its characters.
    pub(crate) fn estimated_tokens(&self) -> u64 {
        self.found.chars.div_ceil(4)
    }
}

impl Found {
    /// Reads a chunk of a stream, or a whole answer. Fields that are missing or have another type count nothing.
    fn read_json(&mut self, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
        for choice in value["choices"].as_array().into_iter().flatten() {
            self.chars += message_chars(&choice["delta"]) + message_chars(&choice["message"]);
        }
        self.reported = TokenCount::reported(&value["usage"]).or(self.reported);
    }
}

impl TokenCount {
    /// The usage of an answer, in the spellings of several providers; `None` if it lacks a number.
    fn reported(usage: &Value) -> Option<Self> {
        let any = |names: &[&str]| names.iter().find_map(|name| count(&usage[*name]));
        let prompt = any(&["prompt_tokens", "input_tokens"])?;
        let completion = any(&["completion_tokens", "output_tokens"])?;
        let cached = count(&usage["prompt_tokens_details"]["cached_tokens"])
            .or_else(|| count(&usage["input_tokens_details"]["cached_tokens"]))
            .or_else(|| any(&["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"]));
        let cached = cached.unwrap_or_default().min(prompt);
        Some(Self { prompt, cached, completion })
    }
}

/// A number of tokens; some providers write `1151.0`. A negative one is none.
fn count(value: &Value) -> Option<u64> {
    let text =
        || value.as_f64().filter(|number| (0.0..1e15).contains(number)).map(|number| format!("{number:.0}"));
    value.as_u64().or_else(|| text()?.parse().ok())
}

/// Characters of a message, or of a piece of one.
fn message_chars(message: &Value) -> u64 {
    let chars = |value: &Value| value.as_str().map_or(0, |text| text.chars().count() as u64);
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    chars(&message["content"])
        + chars(&message["reasoning_content"])
        + calls
            .map(|call| chars(&call["function"]["name"]) + chars(&call["function"]["arguments"]))
            .sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"gü\"}}]}\n\n: keep-alive\n\n\
        data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"ls\",\"arguments\":\"{}\"}}]}}]}\r\n\r\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";

    fn parse(pieces: &[&[u8]], is_stream: bool) -> (Option<TokenCount>, u64) {
        let mut parser = UsageParser::new(is_stream);
        for piece in pieces {
            parser.push(piece);
        }
        (parser.finish(), parser.found.chars)
    }

    #[test]
    fn usage_is_found_wherever_the_bytes_are_cut() {
        let reported = Some(TokenCount { prompt: 7, cached: 0, completion: 3 });
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            assert_eq!(parse(&[head, tail], true), (reported, 6), "cut at {cut}");
        }
        let whole = br#"{"choices":[{"message":{"content":"abcd"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
        assert_eq!(parse(&[&whole[..20], &whole[20..]], false), (reported, 4));
    }

    #[test]
    fn cached_tokens_are_found_in_every_spelling() {
        for (usage, cached) in [
            (r#""prompt_tokens_details":{"cached_tokens":4}"#, 4),
            (r#""prompt_tokens_details":{"cached_tokens":null}"#, 0),
            (r#""prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":3"#, 4),
            (r#""cached_tokens":4.0"#, 4),
            (r#""cache_read_input_tokens":99"#, 7),
            (r#""cached_tokens":-1"#, 0),
        ] {
            let answer = format!("{{\"usage\":{{\"prompt_tokens\":7.0,\"completion_tokens\":3,{usage}}}}}");
            let expected = TokenCount { prompt: 7, cached, completion: 3 };
            assert_eq!(parse(&[answer.as_bytes()], false).0, Some(expected), "{usage}");
        }
    }

    #[test]
    fn what_is_no_answer_counts_nothing() {
        assert_eq!(parse(&[b"data: [DONE]\n\ndata: {\"usage\":null}\nhello"], true), (None, 0));
        assert_eq!(parse(&[b"<html>"], false), (None, 0));
    }

    #[test]
    fn the_last_event_of_a_stream_is_read_without_its_end() {
        let reported = Some(TokenCount { prompt: 7, cached: 0, completion: 3 });
        let unfinished = "data: {\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}";
        assert_eq!(parse(&[unfinished.as_bytes()], true), (reported, 0));
    }

    #[test]
    fn what_is_too_long_is_not_kept_but_estimated() {
        const PIECE: usize = 64 * 1024;
        let mut stream = UsageParser::new(true);
        let mut json = UsageParser::new(false);
        for _ in 0..40 {
            stream.push(&vec![b'x'; PIECE]);
            json.push(&vec![b'x'; PIECE]);
            assert!(
                matches!(&json.body, Body::TooLong)
                    || matches!(&json.body, Body::Json(kept) if kept.len() <= MAX_READ)
            );
        }
        assert_eq!((json.finish(), json.estimated_tokens()), (None, 40 * PIECE as u64 / 4));
        stream.push(b"\n\n");
        stream.push(STREAM.as_bytes());
        assert!(stream.finish().is_some(), "a line that is too long hides the lines after it");
        assert!(stream.estimated_tokens() >= 40 * PIECE as u64 / 4);
    }
}
