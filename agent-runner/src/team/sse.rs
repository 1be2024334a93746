//! Server-sent events: the `data` of each event in a stream of bytes that arrives in arbitrary pieces.
//!
//! Follows the WHATWG HTML standard, 9.2.6 "Interpreting an event stream"; comments and other fields are skipped.

/// The longest event that is read, in bytes.
pub(crate) const LIMIT: usize = 1024 * 1024;

/// An event was longer than [`LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The parser's state between two pieces.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Option<String>,
    after_return: bool,
}

impl Events {
    /// The data of the events that `bytes` complete.
    ///
    /// # Errors
    /// A line, or an event, is longer than [`LIMIT`].
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let newline = byte == b'\n' && std::mem::take(&mut self.after_return);
            self.after_return = byte == b'\r';
            match byte {
                // the second half of a CRLF
                b'\n' if newline => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ if self.line.len() == LIMIT => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<String>, TooLong> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_start_matches('\u{feff}');
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) if data.len() + value.len() >= LIMIT => return Err(TooLong),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn data_comes_out_and_everything_else_stays_in() {
        let stream = "\u{feff}data: one\n\n: keep-alive\n\nevent: x\nid: 7\ndata:two\r\ndata:  lines\r\n\r\n\
                      retry: 5\n\ndata\n\ndata: é\r\rdata: unfinished\n";
        let events = Events::default().push(stream.as_bytes()).unwrap();
        assert_eq!(events, ["one", "two\n lines", "", "é"]);
    }

    #[test]
    fn an_endless_line_or_event_is_an_error() {
        assert_eq!(Events::default().push(&vec![b'x'; LIMIT + 1]), Err(TooLong));
        let line = format!("data: {}\n", "x".repeat(1023));
        assert_eq!(Events::default().push(line.repeat(1025).as_bytes()), Err(TooLong));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_split_makes_no_difference(
            lines in proptest::collection::vec("(data: ?[a-zé:]{0,4}|:c|id: 1|)(\n|\r|\r\n)", 0..30),
            size in 1usize..7,
        ) {
            let stream = lines.concat();
            let mut split = Events::default();
            let pieces = stream.as_bytes().chunks(size);
            let events: Vec<_> = pieces.flat_map(|piece| split.push(piece).unwrap()).collect();
            prop_assert_eq!(events, Events::default().push(stream.as_bytes()).unwrap());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            Events::default().push(&bytes).ok();
        }
    }
}
