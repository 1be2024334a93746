//! A control connection of a runner that has sent its first frame.

use std::io;

use mgx_protocol::{FromRunner, Ready};
use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// The largest first frame, in bytes.
const MAX_FIRST_FRAME_BYTES: usize = 4096;

/// A byte stream to a runner.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A control connection, read up to the end of its first frame.
pub(super) struct ControlConnection {
    /// What the runner has said of itself.
    pub(super) ready: Ready,
    /// The process of the runner, if the host can see it.
    pub(super) process: Option<Pid>,
    pub(super) stream: Box<dyn Stream>,
}

/// Reads one small frame and not a byte more: the bytes after it belong to the next reader of the connection.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<FromRunner> {
    let length = stream.read_u32().await? as usize;
    if length > MAX_FIRST_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a first frame of {length} bytes")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    serde_json::from_slice(&frame).map_err(io::Error::from)
}
