//! The runner link, the platform's side: one directory with one socket per slot, and who calls there.
//!
//! The directory is mounted into the container of the slot, and into no other. The root is closed to everyone else
//! on the host (mode 0700); a slot's directory can be searched but not written by a container (0711).

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mgx_protocol::SlotId;
use mgx_protocol::{FromRunner, Invocation, LINK_SOCKET, OLDEST_VERSION, VERSION};
use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug, debug_span, warn};

use crate::driver::Control;
use crate::latest::Latest;
use crate::lines::Lines;
use crate::{Ended, Parked, Run, RuntimeError, RuntimeErrorKind};

/// The longest path of a unix socket that the kernel takes, without the final zero byte (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// The longest slot id.
const MAX_SLOT: usize = 64;

/// How long a new connection may take to say what it is for.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// How many connections of one slot may be about to say what they are for.
const MAX_GREETINGS: usize = 16;

/// The largest first frame, in bytes.
const MAX_GREETING: usize = 4096;

/// The links of every slot. Cheap to clone; when the last clone goes, all listeners and runs go with it, and
/// the runners in the containers wait for somebody to listen again.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    root: PathBuf,
    tunnels: mpsc::Sender<Tunnel>,
    lines: Lines<AbortOnDropHandle<()>>,
}

/// A connection from a container to the LLM proxy: from here on raw bytes of HTTP/1.1.
#[derive(Debug)]
pub struct Tunnel {
    /// Whose it is.
    pub slot: SlotId,
    /// The connection. Nothing has been read beyond its first frame.
    pub stream: UnixStream,
}

impl Links {
    /// Links below `root`, which becomes a directory of this process alone. Tunnels go to `tunnels`; when that is
    /// full or closed, their connections end at once.
    ///
    /// # Errors
    /// `root` is relative, too long for a unix socket below it, or cannot be made.
    pub fn new(root: impl Into<PathBuf>, tunnels: mpsc::Sender<Tunnel>) -> io::Result<Self> {
        let root = root.into();
        let longest = root.as_os_str().len() + MAX_SLOT + LINK_SOCKET.len() + 2;
        if !root.is_absolute() || longest > MAX_SOCKET_PATH {
            let allowed = MAX_SOCKET_PATH + root.as_os_str().len() - longest;
            let message = format!(
                "the directory of the runner links has to be absolute and at most {allowed} bytes long: {}",
                root.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        fs::create_dir_all(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        Ok(Self(Arc::new(Inner { root, tunnels, lines: Lines::default() })))
    }

    /// Listens for the runner of `slot`. Returns the directory to mount.
    ///
    /// # Errors
    /// `Conflict` if it is listened for already; `Refused` if the directory cannot be made.
    pub fn open(&self, slot: &SlotId) -> Result<PathBuf, RuntimeError> {
        let directory = self.directory(slot);
        self.0.lines.open(slot, |controls, stranger| {
            let listener = listen(&directory).map_err(|error| {
                let message = format!("cannot make the link of slot {slot}");
                RuntimeError::new(RuntimeErrorKind::Refused, message).because(error)
            })?;
            let accepting = accept(listener, slot.clone(), controls, stranger, self.0.tunnels.clone());
            Ok(AbortOnDropHandle::new(tokio::spawn(accepting.instrument(debug_span!("link", %slot)))))
        })?;
        Ok(directory)
    }

    /// Waits until the runner of `slot` has called, at most for `limit`. Says whether it has its invocation.
    ///
    /// # Errors
    /// `NotFound` if nobody listens for it, `NotReady` if it did not call, `Refused` if it speaks a version of the
    /// protocol that is not understood.
    pub async fn ready(&self, slot: &SlotId, limit: Duration) -> Result<bool, RuntimeError> {
        self.0.lines.ready(slot, limit).await
    }

    /// Holds the runner of `slot`, which has called and has no invocation, until it is claimed. `left` is rung when
    /// it hangs up.
    ///
    /// # Errors
    /// `NotFound` if nobody listens for it, `NotReady` if it is not there or cannot be claimed.
    pub fn park(&self, slot: &SlotId, left: Arc<Notify>) -> Result<Parked, RuntimeError> {
        self.0.lines.park(slot, left)
    }

    /// Runs `invocation` in `slot`. `death` resolves when its container is gone, and says how.
    ///
    /// # Errors
    /// `NotFound` if nobody listens for it, `Conflict` if it was invoked before, `Refused` if it is too large.
    pub fn start(
        &self,
        slot: &SlotId,
        invocation: Invocation,
        death: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        self.0.lines.start(slot, invocation, death)
    }

    /// Takes up the run of `slot`, which an earlier process of the platform began, or an earlier [`Run`] of this one.
    ///
    /// # Errors
    /// `NotFound` if nobody listens for it.
    pub fn resume(
        &self,
        slot: &SlotId,
        death: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        self.0.lines.resume(slot, death)
    }

    /// Listens for `slot` no longer, and leaves its directory as it is.
    pub fn release(&self, slot: &SlotId) {
        self.0.lines.close(slot);
    }

    /// Listens for `slot` no longer, and removes its directory.
    pub fn close(&self, slot: &SlotId) {
        self.release(slot);
        match fs::remove_dir_all(self.directory(slot)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(%slot, %error, "cannot remove the directory of a link");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// A directory beside them, for sockets that are nobody's link.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.0.root.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    fn directory(&self, slot: &SlotId) -> PathBuf {
        self.0.root.join(slot.as_str())
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("root", &self.0.root).finish_non_exhaustive()
    }
}

/// A fresh socket in `directory`. The directory itself is kept if it is there: a container may have it mounted.
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

async fn accept(
    listener: UnixListener,
    slot: SlotId,
    controls: Arc<Latest<Control>>,
    stranger: Arc<OnceLock<u32>>,
    tunnels: mpsc::Sender<Tunnel>,
) {
    let mut greetings = JoinSet::new();
    loop {
        while greetings.try_join_next().is_some() {}
        if greetings.len() >= MAX_GREETINGS {
            greetings.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                let (controls, stranger) = (Arc::clone(&controls), Arc::clone(&stranger));
                let greeting = greet(stream, slot.clone(), controls, stranger, tunnels.clone());
                greetings.spawn(greeting.in_current_span());
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Finds out what a connection is for, and hands it on.
async fn greet(
    mut stream: UnixStream,
    slot: SlotId,
    controls: Arc<Latest<Control>>,
    stranger: Arc<OnceLock<u32>>,
    tunnels: mpsc::Sender<Tunnel>,
) {
    match tokio::time::timeout(GREETING_LIMIT, read_frame(&mut stream)).await {
        Ok(Ok(FromRunner::Ready(ready)))
            if (OLDEST_VERSION..=VERSION).contains(&ready.version) && ready.slot == slot =>
        {
            let process = stream.peer_cred().ok().and_then(|peer| Pid::from_raw(peer.pid()?));
            controls.put(Control { ready, process, stream: Box::new(stream) });
        }
        Ok(Ok(FromRunner::Ready(ready))) => {
            if ready.slot == slot {
                stranger.set(ready.version).ok();
            }
            warn!(version = ready.version, claimed = %ready.slot, "a runner of another version or slot called");
        }
        Ok(Ok(FromRunner::Tunnel)) => {
            if tunnels.try_send(Tunnel { slot, stream }).is_err() {
                warn!("no room for another tunnel to the LLM proxy");
            }
        }
        Ok(Ok(FromRunner::Claimed(_) | FromRunner::Event(_) | FromRunner::Exit(_))) => {
            debug!("a connection did not say what it is for");
        }
        Ok(Err(error)) => debug!(%error, "a connection did not say what it is for"),
        Err(_) => debug!("a connection said nothing"),
    }
}

/// Reads one small frame and not a byte more: what follows belongs to whoever takes the connection over.
pub(crate) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<FromRunner> {
    let length = stream.read_u32().await? as usize;
    if length > MAX_GREETING {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a first frame of {length} bytes")));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    serde_json::from_slice(&frame).map_err(io::Error::from)
}
