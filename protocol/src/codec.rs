//! The codec of the runner link: frames of JSON behind a 32-bit big-endian length.

use std::io;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// The largest frame, in bytes of JSON. A longer one is an error that ends the connection.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// Reads `In` and writes `Out`.
#[derive(Debug)]
pub struct JsonFrames<In, Out> {
    framing: LengthDelimitedCodec,
    types: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Default for JsonFrames<In, Out> {
    fn default() -> Self {
        let framing = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
        Self { framing, types: PhantomData }
    }
}

impl<In: DeserializeOwned, Out> Decoder for JsonFrames<In, Out> {
    type Item = In;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<In>> {
        let Some(frame) = self.framing.decode(bytes)? else { return Ok(None) };
        serde_json::from_slice(&frame)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<In, Out: Serialize> Encoder<&Out> for JsonFrames<In, Out> {
    type Error = io::Error;

    fn encode(&mut self, frame: &Out, bytes: &mut BytesMut) -> io::Result<()> {
        self.framing.encode(Bytes::from(serde_json::to_vec(frame)?), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromRunner, ToRunner};
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
