//! Splits a byte stream into lines; a line that is too long comes in pieces of bounded length.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    stream: R,
    buffer: BytesMut,
    limit: usize,
    ended: bool,
}

/// A line, or a part of one that is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its bytes, without the line's end.
    pub(crate) bytes: Vec<u8>,
    /// Whether the line ends here.
    pub(crate) last: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of `stream` in pieces of at most `limit` bytes.
    pub(crate) fn new(stream: R, limit: usize) -> Self {
        Self { stream, buffer: BytesMut::new(), limit, ended: false }
    }

    /// The next piece; none at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if let Some(piece) = self.take() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            self.buffer.reserve(4096);
            self.ended = self.stream.read_buf(&mut self.buffer).await? == 0;
        }
    }

    fn take(&mut self) -> Option<Piece> {
        let window = &self.buffer[..self.buffer.len().min(self.limit + 1)];
        if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
            let mut bytes = self.buffer.split_to(end).to_vec();
            self.buffer.advance(1);
            bytes.pop_if(|byte| *byte == b'\r');
            return Some(Piece { bytes, last: true });
        }
        if window.len() > self.limit {
            let cut = character_start(window, self.limit);
            return Some(Piece { bytes: self.buffer.split_to(cut).to_vec(), last: false });
        }
        (self.ended && !self.buffer.is_empty())
            .then(|| Piece { bytes: self.buffer.split().to_vec(), last: true })
    }
}

/// Where the UTF-8 character begins that byte `at` belongs to; `at` itself if it belongs to none.
fn character_start(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3).max(1)..=at).rev().find(|&start| bytes[start] & 0xC0 != 0x80).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn pieces(bytes: &[u8], limit: usize) -> Vec<(String, bool)> {
        let mut lines = Lines::new(bytes, limit);
        let mut pieces = Vec::new();
        while let Some(piece) = lines.next().await.unwrap() {
            pieces.push((String::from_utf8_lossy(&piece.bytes).into_owned(), piece.last));
        }
        pieces
    }

    #[tokio::test]
    async fn lines_end_at_their_newline_and_long_ones_are_split_between_characters() {
        let lines = |pieces: &[(&str, bool)]| {
            pieces.iter().map(|(text, last)| ((*text).to_owned(), *last)).collect::<Vec<_>>()
        };
        assert_eq!(pieces(b"", 4).await, lines(&[]));
        assert_eq!(pieces(b"a\r\n\nb", 4).await, lines(&[("a", true), ("", true), ("b", true)]));
        assert_eq!(pieces(b"abcd\nabcde", 4).await, lines(&[("abcd", true), ("abcd", false), ("e", true)]));
        assert_eq!(pieces("aaéé".as_bytes(), 3).await, lines(&[("aa", false), ("é", false), ("é", true)]));
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_and_no_piece_is_too_long(bytes: Vec<u8>, limit in 1usize..20) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut lines = Lines::new(&bytes[..], limit);
                let mut joined = Vec::new();
                while let Some(piece) = lines.next().await.unwrap() {
                    assert!(piece.bytes.len() <= limit);
                    joined.extend(piece.bytes);
                }
                let plain = |bytes: &[u8]| {
                    bytes.iter().copied().filter(|b| !b"\r\n".contains(b)).collect::<Vec<_>>()
                };
                assert_eq!(plain(&joined), plain(&bytes));
            });
        }
    }
}
