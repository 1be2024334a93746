//! The socket of one slot: accepts connections, and passes each on by what its first frame says.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mgx_protocol::{FromRunner, LINK_SOCKET, OLDEST_VERSION, SlotId, VERSION};
use rustix::process::Pid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument, debug, warn};

use super::control_connection::{ControlConnection, read_frame};
use super::mailbox::Mailbox;

/// How long a new connection may take to send its first frame: a runner that shares a hundredth of a processor with many
/// processes takes seconds.
const FIRST_FRAME_LIMIT: Duration = Duration::from_mins(1);

/// How many connections of one slot may be waiting for their first frame.
const MAX_UNIDENTIFIED: usize = 16;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection from a container to the LLM proxy: from here on raw bytes of HTTP/1.1.
#[derive(Debug)]
pub struct Tunnel {
    /// The slot of the container.
    pub slot: SlotId,
    /// The connection, read up to the end of its first frame.
    pub stream: UnixStream,
}

/// Makes a new socket in `directory`. An existing directory is kept, because a container may have it mounted.
pub(crate) fn listen(directory: &Path) -> io::Result<UnixListener> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o711))?;
    let socket = directory.join(LINK_SOCKET);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

pub(super) async fn accept(
    listener: UnixListener,
    slot: SlotId,
    connections: Arc<Mailbox<ControlConnection>>,
    refused_version: Arc<OnceLock<u32>>,
    tunnels: mpsc::Sender<Tunnel>,
) {
    let mut identifying = JoinSet::new();
    loop {
        while identifying.try_join_next().is_some() {}
        if identifying.len() >= MAX_UNIDENTIFIED {
            identifying.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let (connections, refused_version) = (Arc::clone(&connections), Arc::clone(&refused_version));
                let identify = identify(stream, slot.clone(), connections, refused_version, tunnels.clone());
                identifying.spawn(identify.in_current_span());
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reads what a connection is for from its first frame, and passes it on.
async fn identify(
    mut stream: UnixStream,
    slot: SlotId,
    connections: Arc<Mailbox<ControlConnection>>,
    refused_version: Arc<OnceLock<u32>>,
    tunnels: mpsc::Sender<Tunnel>,
) {
    match tokio::time::timeout(FIRST_FRAME_LIMIT, read_frame(&mut stream)).await {
        Ok(Ok(FromRunner::Ready(ready)))
            if (OLDEST_VERSION..=VERSION).contains(&ready.version) && ready.slot == slot =>
        {
            let process = stream.peer_cred().ok().and_then(|peer| Pid::from_raw(peer.pid()?));
            connections.put(ControlConnection { ready, process, stream: Box::new(stream) });
        }
        Ok(Ok(FromRunner::Ready(ready))) => {
            if ready.slot == slot {
                refused_version.set(ready.version).ok();
            }
            warn!(version = ready.version, claimed = %ready.slot, "a runner of another version or slot connected");
        }
        Ok(Ok(FromRunner::Tunnel)) => {
            if tunnels.try_send(Tunnel { slot, stream }).is_err() {
                warn!("no room for another tunnel to the LLM proxy");
            }
        }
        Ok(Ok(FromRunner::Claimed(_) | FromRunner::Event(_) | FromRunner::Exit(_))) => {
            debug!("a connection sent no frame that opens one");
        }
        Ok(Err(error)) => debug!(%error, "a connection sent no frame that opens one"),
        Err(_) => debug!("a connection sent nothing"),
    }
}
