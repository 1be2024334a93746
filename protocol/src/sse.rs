//! Event streams (WHATWG HTML, section 9.2 "Server-sent events"): bytes in, events out, however the bytes are split.

use std::mem;
use std::time::Duration;

use memchr::{memchr, memchr2};

/// One event, borrowed from its [`Parser`] until that is asked for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The field `event`; empty if there was none, which stands for `message`.
    pub event: &'a str,
    /// The fields `data`, joined with line feeds.
    pub data: &'a str,
    /// The field `id`, if the event has one of its own.
    pub id: Option<&'a str>,
}

/// A line or an event is longer than the parser's limit. The parser skips the rest of that event and can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {max_bytes} bytes")]
pub struct TooLong {
    /// The limit.
    pub max_bytes: usize,
}

/// Reads the events of one stream. It keeps at most one unfinished line and one unfinished event, and reuses their
/// buffers.
#[derive(Debug)]
pub struct Parser {
    max_bytes: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    skipped: Skipped,
    /// The last byte was a carriage return: a line feed after it belongs to the same line end.
    after_return: bool,
    /// No line has been read yet: it may begin with a byte order mark.
    is_first_line: bool,
    fields: Fields,
    /// The event was given out: the next call clears its fields.
    is_given_out: bool,
    retry: Option<Duration>,
}

/// What is not read, because it is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skipped {
    Nothing,
    /// The lines of the current event.
    Event,
    /// The rest of the current line, and the lines of its event.
    Line,
}

/// The fields of the current event.
#[derive(Debug)]
struct Fields {
    event: String,
    data: String,
    has_data: bool,
    id: String,
    has_id: bool,
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl Parser {
    /// A parser at the beginning of a stream, for lines and events of at most `max_bytes` bytes each.
    pub const fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            line: Vec::new(),
            skipped: Skipped::Nothing,
            after_return: false,
            is_first_line: true,
            fields: Fields {
                event: String::new(),
                data: String::new(),
                has_data: false,
                id: String::new(),
                has_id: false,
            },
            is_given_out: false,
            retry: None,
        }
    }

    /// Consumes `bytes` up to the end of the next event and returns it; `None` when all of them are consumed.
    ///
    /// # Errors
    /// A line or an event is longer than the limit. Call again to read the event after it.
    pub fn next_frame(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame<'_>>, TooLong> {
        if mem::take(&mut self.is_given_out) {
            self.fields.clear();
        }
        while !bytes.is_empty() {
            if mem::take(&mut self.after_return)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                *bytes = rest;
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.keep(mem::take(bytes))?;
                break;
            };
            let tail = &bytes[..end];
            self.after_return = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            if self.end_line(tail)? {
                self.is_given_out = true;
                return Ok(Some(self.fields.frame()));
            }
        }
        Ok(None)
    }

    /// How long the server asks its clients to wait before they connect again: the last field `retry`.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Keeps a part of a line until its end arrives.
    fn keep(&mut self, part: &[u8]) -> Result<(), TooLong> {
        match self.skipped {
            Skipped::Nothing if self.line.len() + part.len() > self.max_bytes => {
                Err(self.skip(Skipped::Line))
            }
            Skipped::Nothing => {
                self.line.extend_from_slice(part);
                Ok(())
            }
            Skipped::Event | Skipped::Line => {
                self.skipped = Skipped::Line;
                Ok(())
            }
        }
    }

    /// Reads the line that ends with `tail`; whether it completes an event.
    fn end_line(&mut self, tail: &[u8]) -> Result<bool, TooLong> {
        if self.skipped == Skipped::Line {
            self.skipped = Skipped::Event;
            return Ok(false);
        }
        if self.line.is_empty() {
            return self.read_line(tail);
        }
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(tail);
        let is_complete = self.read_line(&line);
        line.clear();
        self.line = line;
        is_complete
    }

    fn read_line(&mut self, line: &[u8]) -> Result<bool, TooLong> {
        let is_first = mem::take(&mut self.is_first_line);
        let line = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(line);
        if line.is_empty() {
            let is_complete = self.fields.has_data && self.skipped == Skipped::Nothing;
            self.skipped = Skipped::Nothing;
            if !is_complete {
                self.fields.clear();
            }
            return Ok(is_complete);
        }
        if self.skipped == Skipped::Event {
            return Ok(false);
        }
        if line.len() > self.max_bytes {
            return Err(self.skip(Skipped::Event));
        }
        self.read_field(line);
        if self.fields.data.len() > self.max_bytes { Err(self.skip(Skipped::Event)) } else { Ok(false) }
    }

    fn read_field(&mut self, line: &[u8]) {
        let (field, value) = memchr(b':', line).map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let fields = &mut self.fields;
        match field {
            b"data" => {
                if fields.has_data {
                    fields.data.push('\n');
                }
                fields.has_data = true;
                push_text(&mut fields.data, value);
            }
            b"event" => {
                fields.event.clear();
                push_text(&mut fields.event, value);
            }
            b"id" if !value.contains(&0) => {
                fields.id.clear();
                push_text(&mut fields.id, value);
                fields.has_id = true;
            }
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            // a comment, whose field has no name, or a field that the standard does not know
            _ => {}
        }
    }

    fn skip(&mut self, skipped: Skipped) -> TooLong {
        self.line.clear();
        self.skipped = skipped;
        self.is_first_line = false;
        TooLong { max_bytes: self.max_bytes }
    }
}

impl Fields {
    fn frame(&self) -> Frame<'_> {
        Frame { event: &self.event, data: &self.data, id: self.has_id.then_some(self.id.as_str()) }
    }

    fn clear(&mut self) {
        (self.has_data, self.has_id) = (false, false);
        self.event.clear();
        self.data.clear();
        self.id.clear();
    }
}

/// Appends `bytes`, with a replacement character for each sequence that is not UTF-8.
fn push_text(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_BYTES: usize = 64;

    /// The fields `event`, `data` and `id`.
    type Event = (String, String, Option<String>);

    fn feed(parser: &mut Parser, mut bytes: &[u8]) -> Vec<Result<Event, TooLong>> {
        let mut read = Vec::new();
        loop {
            read.push(match parser.next_frame(&mut bytes) {
                Ok(None) => return read,
                Ok(Some(Frame { event, data, id })) => {
                    Ok((event.to_owned(), data.to_owned(), id.map(str::to_owned)))
                }
                Err(error) => Err(error),
            });
        }
    }

    fn read(bytes: &[u8]) -> Vec<Result<Event, TooLong>> {
        feed(&mut Parser::new(MAX_BYTES), bytes)
    }

    fn frame(event: &str, data: &str, id: Option<&str>) -> Event {
        (event.to_owned(), data.to_owned(), id.map(str::to_owned))
    }

    #[test]
    fn fields_of_the_standard_are_read_and_everything_else_is_skipped() {
        let stream = "\u{feff}data: one\n\n: comment\n\nid: 1\nevent: tool_start\ndata: {\"a\":\ndata: 1}\n\n\
                      event: ping\ndata:\n\r\nid: 2\r\ndata:x\r\n\r\nid: 3\n\nunknown: x\ndata\n\n\
                      id: a\0b\ndata:  two\r\r\u{feff}data: not first\n\ndata: unfinished\n";
        assert_eq!(
            read(stream.as_bytes()),
            [
                frame("", "one", None),
                frame("tool_start", "{\"a\":\n1}", Some("1")),
                frame("ping", "", None),
                frame("", "x", Some("2")),
                frame("", "", None),
                frame("", " two", None),
            ]
            .map(Ok)
        );
        assert_eq!(read(b"data: \xFFa\xC3\n\n"), [Ok(frame("", "\u{fffd}a\u{fffd}", None))]);
    }

    #[test]
    fn the_servers_retry_time_is_read() {
        let mut parser = Parser::new(MAX_BYTES);
        assert_eq!(parser.retry(), None);
        assert_eq!(feed(&mut parser, b"retry: 1000\n\nretry: soon\n\nretry\n\n"), []);
        assert_eq!(parser.retry(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_is_too_long_is_an_error_and_the_event_after_it_is_read() {
        let long = "x".repeat(MAX_BYTES);
        let too_long = Err(TooLong { max_bytes: MAX_BYTES });
        let after = Ok(frame("", "after", None));
        for event in [
            format!("data: {long}\n\n"),
            format!("data: {long}\r\ndata: {long}\ndata: more\n\n"),
            format!("{}\n", "data: 12345\n".repeat(MAX_BYTES)),
            format!(": {long}\n\n"),
        ] {
            assert_eq!(read(format!("{event}data: after\n\n").as_bytes()), [too_long.clone(), after.clone()]);
        }
    }

    #[test]
    fn an_endless_line_is_held_in_bounded_memory() {
        let mut parser = Parser::new(MAX_BYTES);
        for _ in 0..100 {
            feed(&mut parser, b"data: a piece of a line that never ends");
            assert!(parser.line.len() <= MAX_BYTES);
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_makes_no_difference(
            lines in proptest::collection::vec("\u{feff}?(data: ?[a-zé:]{0,4}|data: x{70}|:c|id: 1|retry: 7|)(\n|\r|\r\n)", 0..30),
            sizes in proptest::collection::vec(1usize..9, 1..40),
        ) {
            let stream = lines.concat();
            let mut parser = Parser::new(MAX_BYTES);
            let (mut rest, mut frames) = (stream.as_bytes(), Vec::new());
            for size in sizes.iter().cycle() {
                let (piece, after) = rest.split_at(rest.len().min(*size));
                frames.extend(feed(&mut parser, piece));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(frames, read(stream.as_bytes()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            read(&bytes);
        }
    }
}
