//! Server-sent events (WHATWG HTML, section 9.2) as a stream of bytes brings them, whatever its pieces.

/// The longest line that is kept, in bytes; a longer one is cut.
const MAX_LINE: usize = 256 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// `event:`; empty: `message`.
    pub event: String,
    /// `data:`, its lines joined.
    pub data: String,
    /// `id:`, if the frame has one.
    pub id: Option<String>,
}

/// Reads frames out of bytes.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    frame: Frame,
    has_data: bool,
}

impl Parser {
    /// The frames that `bytes` complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => frames.extend(self.end_of_line()),
                byte if self.line.len() < MAX_LINE => self.line.push(byte),
                _ => {}
            }
        }
        frames
    }

    fn end_of_line(&mut self) -> Option<Frame> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let frame = std::mem::take(&mut self.frame);
            return std::mem::take(&mut self.has_data).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.frame.event),
            "data" if self.frame.data.len() < 4 * MAX_LINE => {
                if self.has_data {
                    self.frame.data.push('\n');
                }
                self.has_data = true;
                self.frame.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.frame.id = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 1\nevent: tool_start\ndata: {\"a\":\ndata: 1}\n\nevent: ping\ndata:\n\r\nid: 2\r\ndata:x\r\n\r\nid: 3\n\n";

    #[test]
    fn frames_survive_any_split_of_the_bytes() {
        let whole = Parser::default().feed(STREAM.as_bytes());
        assert_eq!(whole.len(), 3, "{whole:?}");
        assert_eq!(whole[0].data, "{\"a\":\n1}");
        assert_eq!((whole[0].id.as_deref(), whole[0].event.as_str()), (Some("1"), "tool_start"));
        assert_eq!((whole[1].event.as_str(), whole[1].data.as_str()), ("ping", ""));
        assert_eq!((whole[2].id.as_deref(), whole[2].data.as_str()), (Some("2"), "x"));
        for cut in 0..STREAM.len() {
            let mut parser = Parser::default();
            let mut frames = parser.feed(&STREAM.as_bytes()[..cut]);
            frames.extend(parser.feed(&STREAM.as_bytes()[cut..]));
            assert_eq!(frames, whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_endless_line_is_held_in_bounded_memory() {
        let mut parser = Parser::default();
        for _ in 0..8 {
            assert!(parser.feed(&vec![b'x'; MAX_LINE]).is_empty());
        }
        assert!(parser.line.len() <= MAX_LINE);
    }
}
