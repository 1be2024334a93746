//! Frames on the runner link: JSON behind a 32-bit big-endian length.

use std::io;
use std::marker::PhantomData;

use bytes::{Buf, BufMut, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::{Decoder, Encoder};

/// The largest frame, in bytes of JSON. A longer one ends the connection.
pub const MAX_FRAME: usize = 1024 * 1024;

const HEADER: usize = 4;

/// Reads `In` and writes `Out`.
#[derive(Debug)]
pub struct JsonFrames<In, Out> {
    types: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Default for JsonFrames<In, Out> {
    fn default() -> Self {
        Self { types: PhantomData }
    }
}

impl<In: DeserializeOwned, Out> Decoder for JsonFrames<In, Out> {
    type Item = In;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<In>> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        }
        if bytes.len() < HEADER + length {
            bytes.reserve(HEADER + length - bytes.len());
            return Ok(None);
        }
        bytes.advance(HEADER);
        let frame = bytes.split_to(length);
        serde_json::from_slice(&frame)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<In, Out: Serialize> Encoder<&Out> for JsonFrames<In, Out> {
    type Error = io::Error;

    fn encode(&mut self, frame: &Out, bytes: &mut BytesMut) -> io::Result<()> {
        let start = bytes.len();
        bytes.put_u32(0);
        serde_json::to_writer(bytes.writer(), frame)?;
        let length = bytes.len() - start - HEADER;
        if length > MAX_FRAME {
            bytes.truncate(start);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a frame of {length} bytes")));
        }
        let header = u32::try_from(length).map_err(io::Error::other)?.to_be_bytes();
        bytes[start..start + HEADER].copy_from_slice(&header);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{FromRunner, ToRunner};
    use proptest::prelude::*;

    #[test]
    fn frames_survive_any_split_of_the_bytes() {
        let sent = [ToRunner::Ack { seq: 1 }, ToRunner::Stop { grace_ms: 10 }, ToRunner::Dismiss];
        let mut wire = BytesMut::new();
        for frame in &sent {
            JsonFrames::<FromRunner, ToRunner>::default().encode(frame, &mut wire).unwrap();
        }
        for cut in 0..=wire.len() {
            let mut codec = JsonFrames::<ToRunner, FromRunner>::default();
            let mut bytes = BytesMut::from(&wire[..cut]);
            let mut got = Vec::new();
            while let Some(frame) = codec.decode(&mut bytes).unwrap() {
                got.push(frame);
            }
            bytes.extend_from_slice(&wire[cut..]);
            while let Some(frame) = codec.decode(&mut bytes).unwrap() {
                got.push(frame);
            }
            assert_eq!(got, sent, "cut at {cut}");
        }
    }

    #[test]
    fn an_empty_or_an_oversized_frame_is_refused() {
        for length in [0u32, 1024 * 1024 + 1, u32::MAX] {
            let mut bytes = BytesMut::from(&length.to_be_bytes()[..]);
            assert!(JsonFrames::<ToRunner, FromRunner>::default().decode(&mut bytes).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = (JsonFrames::<ToRunner, FromRunner>::default()).decode(&mut bytes) {}
        }
    }
}
