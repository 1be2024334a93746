//! The claim of a warm container: waits for it, and sends it to the runner.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use mgx_protocol::{Claimed, FromRunner, JsonFrames, Nonce, ToRunner};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio_util::codec::Encoder;
use tracing::debug;

use super::control_connection::{ControlConnection, read_frame};
use super::mailbox::Mailbox;
use crate::runtime::warm::ClaimReceiver;

/// Waits for the claim, sends it over `connection`, and leaves the connection in `connections` for the run that follows.
/// Notifies `disconnected` if the runner disconnects or sends anything before.
pub(super) async fn serve_claim(
    mut connection: ControlConnection,
    mut claims: ClaimReceiver,
    connections: Arc<Mailbox<ControlConnection>>,
    disconnected: Arc<Notify>,
) {
    let nonce = connection.ready.nonce;
    let reply = tokio::select! {
        reply = claims.claim() => reply,
        // a frame is as much against the protocol as the end of the connection
        frame = read_frame(&mut connection.stream) => {
            debug!(?frame, "a warm runner has disconnected");
            drop(claims);
            return disconnected.notify_one();
        }
    };
    let (Some(reply), Some(nonce)) = (reply, nonce) else { return };
    match confirm(&mut connection, nonce).await {
        Ok(claimed) => {
            connections.put_back(connection);
            reply.send(claimed).ok();
        }
        Err(error) => debug!(%error, "a runner did not confirm its claim"),
    }
}

async fn confirm(connection: &mut ControlConnection, nonce: Nonce) -> io::Result<Claimed> {
    let mut wire = BytesMut::new();
    JsonFrames::<FromRunner, ToRunner>::default().encode(&ToRunner::Claim { nonce }, &mut wire)?;
    connection.stream.write_all(&wire).await?;
    match read_frame(&mut connection.stream).await? {
        FromRunner::Claimed(claimed) => Ok(claimed),
        FromRunner::Ready(_) | FromRunner::Tunnel | FromRunner::Event(_) | FromRunner::Exit(_) => Err(
            io::Error::new(io::ErrorKind::InvalidData, "the runner answered its claim with something else"),
        ),
    }
}
