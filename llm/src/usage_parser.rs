//! Finds the usage that a model reports in its answer, while the answer's bytes pass by.

use serde_json::Value;

/// The longest line of a stream, and the longest answer in one piece, that is read, in bytes. The usage of longer ones
/// is estimated.
const MAX_READ: usize = 1024 * 1024;

/// Tokens of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenCount {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

/// Reads an answer that arrives in pieces: server-sent events, or one JSON object.
#[derive(Debug)]
pub(crate) struct UsageParser {
    is_stream: bool,
    /// The unfinished line of a stream, or the JSON object so far.
    pending: Vec<u8>,
    /// The unfinished line, or the JSON object, is longer than [`MAX_READ`] and is not kept.
    is_skipping: bool,
    reported: Option<TokenCount>,
    /// Characters that the model wrote.
    chars: u64,
}

impl UsageParser {
    pub(crate) fn new(is_stream: bool) -> Self {
        Self { is_stream, pending: Vec::new(), is_skipping: false, reported: None, chars: 0 }
    }

    /// Takes the next bytes of the answer.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) {
        while self.is_stream
            && let Some(end) = chunk.iter().position(|byte| *byte == b'\n')
        {
            self.keep(&chunk[..end]);
            chunk = &chunk[end + 1..];
            self.read_line();
        }
        self.keep(chunk);
    }

    /// Takes the end of the answer, and returns the usage that the model reported, if it did.
    pub(crate) fn finish(&mut self) -> Option<TokenCount> {
        if self.is_stream {
            self.read_line();
        } else if !self.is_skipping {
            let answer = std::mem::take(&mut self.pending);
            self.read_json(&answer);
        }
        self.reported
    }

    /// Tokens of the answer by rule of thumb: a quarter of its characters.
    pub(crate) fn estimated_tokens(&self) -> u64 {
        self.chars.div_ceil(4)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_skipping || self.pending.len() + bytes.len() > MAX_READ {
            self.is_skipping = true;
            self.pending.clear();
            self.chars += bytes.len() as u64;
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn read_line(&mut self) {
        let line = std::mem::take(&mut self.pending);
        if !std::mem::take(&mut self.is_skipping)
            && let Some(data) = line.strip_prefix(b"data:")
        {
            self.read_json(data);
        }
    }

    /// Reads a chunk of a stream, or a whole answer. Fields that are missing or have another type count nothing.
    fn read_json(&mut self, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
        for choice in value["choices"].as_array().into_iter().flatten() {
            self.chars += message_chars(&choice["delta"]) + message_chars(&choice["message"]);
        }
        let usage = &value["usage"];
        if let (Some(prompt_tokens), Some(completion_tokens)) =
            (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64())
        {
            self.reported = Some(TokenCount { prompt_tokens, completion_tokens });
        }
    }
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
        (parser.finish(), parser.chars)
    }

    #[test]
    fn usage_is_found_wherever_the_bytes_are_cut() {
        let reported = Some(TokenCount { prompt_tokens: 7, completion_tokens: 3 });
        for cut in 0..STREAM.len() {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            assert_eq!(parse(&[head, tail], true), (reported, 6), "cut at {cut}");
        }
        let whole = br#"{"choices":[{"message":{"content":"abcd"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
        assert_eq!(parse(&[&whole[..20], &whole[20..]], false), (reported, 4));
    }

    #[test]
    fn what_is_no_answer_counts_nothing_and_long_lines_are_not_kept() {
        assert_eq!(parse(&[b"data: [DONE]\n\ndata: {\"usage\":null}\nhello"], true), (None, 0));
        assert_eq!(parse(&[b"<html>"], false), (None, 0));
        let mut parser = UsageParser::new(true);
        for _ in 0..40 {
            parser.push(&vec![b'x'; 64 * 1024]);
            assert!(parser.pending.len() <= MAX_READ);
        }
        parser.push(b"\n");
        parser.push(STREAM.as_bytes());
        assert!(parser.finish().is_some(), "a line that is too long hides the lines after it");
    }
}
