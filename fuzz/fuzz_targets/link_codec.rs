//! Whatever comes over the runner link, in whatever pieces: frames, or one error, and no more memory than a frame.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mgx_protocol::{JsonFrames, MAX_FRAME_BYTES};
use mgx_protocol::{FromRunner, ToRunner};
use tokio_util::codec::{Decoder, Encoder};

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, wire) = input;
    let whole = decoded(wire, wire.len().max(1));
    let pieces = decoded(wire, usize::from(piece).max(1));
    assert_eq!(whole, pieces, "frames do not depend on how they arrive");
    for frame in &whole {
        let mut again = BytesMut::new();
        JsonFrames::<ToRunner, FromRunner>::default().encode(frame, &mut again).expect("it was a frame");
        let read =
            JsonFrames::<FromRunner, ToRunner>::default().decode(&mut again).expect("so it can be read");
        assert_eq!(read.as_ref(), Some(frame));
    }
});

/// The frames up to the first error, with the bytes coming in pieces.
fn decoded(wire: &[u8], piece: usize) -> Vec<FromRunner> {
    let mut codec = JsonFrames::<FromRunner, ToRunner>::default();
    let mut bytes = BytesMut::new();
    let mut frames = Vec::new();
    for piece in wire.chunks(piece) {
        bytes.extend_from_slice(piece);
        loop {
            match codec.decode(&mut bytes) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
        assert!(bytes.capacity() <= 2 * (MAX_FRAME_BYTES + 4) + wire.len());
    }
    frames
}
