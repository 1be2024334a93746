//! The platform's end of the runner link: a directory with a socket for each slot, and the runs over its connections.
//!
//! The directory is mounted into the container of the slot, and into no other. The root is closed to other users of the
//! host (mode 0700); a container can search its slot's directory and cannot write to it (0711).

mod claim;
mod control_connection;
mod invoked_runner;
pub mod listener;
mod mailbox;
mod run_driver;
mod slot_table;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mgx_protocol::{Invocation, LINK_SOCKET, SlotId};
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug_span, warn};

use crate::{Ended, Run, RuntimeError, RuntimeErrorKind, WarmContainer};
use invoked_runner::InvokedRunner;
use listener::{Tunnel, accept, listen};
pub use slot_table::Runner;
use slot_table::SlotTable;

/// The longest path of a unix socket that the kernel takes, without the final zero byte (unix(7)).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The longest slot id, in bytes.
const MAX_SLOT_BYTES: usize = 64;

/// The links of all slots. Cheap to clone; dropping the last clone ends all listeners and runs, and the runners in the
/// containers try to connect until a process of the platform listens again.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    root: PathBuf,
    tunnels: mpsc::Sender<Tunnel>,
    slots: SlotTable,
}

impl Links {
    /// Links below `root`, a directory that no other process may use. Tunnels go to `tunnels`; while that is full or
    /// closed, their connections are closed at once.
    ///
    /// # Errors
    /// `root` is relative, too long for a unix socket below it, or cannot be made.
    pub fn new(root: impl Into<PathBuf>, tunnels: mpsc::Sender<Tunnel>) -> io::Result<Self> {
        let root = root.into();
        let longest = root.as_os_str().len() + MAX_SLOT_BYTES + LINK_SOCKET.len() + 2;
        if !root.is_absolute() || longest > MAX_SOCKET_PATH_BYTES {
            let allowed = MAX_SOCKET_PATH_BYTES + root.as_os_str().len() - longest;
            let message = format!(
                "the directory of the runner links has to be absolute and at most {allowed} bytes long: {}",
                root.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        fs::create_dir_all(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        Ok(Self(Arc::new(Inner { root, tunnels, slots: SlotTable::default() })))
    }

    /// Listens for the runner of `slot`; the directory to mount into its container.
    ///
    /// # Errors
    /// `Conflict` if the slot is open already; `Refused` if the directory cannot be made.
    pub fn open(&self, slot: &SlotId) -> Result<PathBuf, RuntimeError> {
        let directory = self.directory(slot);
        self.0.slots.open(
            slot,
            InvokedRunner::in_directory(&directory),
            |connections, refused_version| {
                let listener = listen(&directory).map_err(|error| {
                    let message = format!("cannot make the link of slot {slot}");
                    RuntimeError::new(RuntimeErrorKind::Refused, message).because(error)
                })?;
                let accepting =
                    accept(listener, slot.clone(), connections, refused_version, self.0.tunnels.clone());
                Ok(AbortOnDropHandle::new(tokio::spawn(accepting.instrument(debug_span!("link", %slot)))))
            },
        )?;
        Ok(directory)
    }

    /// Forgets that an invocation was given to a runner of `slot`, whose container is new.
    ///
    /// # Errors
    /// `Refused` if the record cannot be removed.
    pub(crate) fn forget_invoked(&self, slot: &SlotId) -> Result<(), RuntimeError> {
        InvokedRunner::in_directory(&self.directory(slot)).clear().map_err(|error| {
            let message = format!("cannot remove a file in the link directory of slot {slot}");
            RuntimeError::new(RuntimeErrorKind::Refused, message).because(error)
        })
    }

    /// Waits until a runner of `slot` has connected, at most for `limit`; which one it is.
    ///
    /// # Errors
    /// `NotFound` if the slot is not open, `NotReady` if the runner did not connect, `Refused` if its version of the
    /// protocol is not supported.
    pub async fn ready(&self, slot: &SlotId, limit: Duration) -> Result<Runner, RuntimeError> {
        self.0.slots.ready(slot, limit).await
    }

    /// Keeps the connection of `slot`'s runner, which has no invocation, until it is claimed. `disconnected` is notified
    /// when the runner disconnects.
    ///
    /// # Errors
    /// `NotFound` if the slot is not open, `NotReady` if the runner is not connected or cannot be claimed.
    pub fn keep_warm(&self, slot: &SlotId, disconnected: Arc<Notify>) -> Result<WarmContainer, RuntimeError> {
        self.0.slots.keep_warm(slot, disconnected)
    }

    /// Runs `invocation` in `slot`. `exit` resolves when its container has ended, with how it ended.
    ///
    /// # Errors
    /// `NotFound` if the slot is not open, `Conflict` if it was invoked before, `Refused` if the invocation is too large.
    pub fn start(
        &self,
        slot: &SlotId,
        invocation: Invocation,
        exit: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        self.0.slots.start(slot, invocation, exit)
    }

    /// Resumes the run of `slot`, which an earlier process of the platform began, or an earlier [`Run`] of this one.
    ///
    /// # Errors
    /// `NotFound` if the slot is not open.
    pub fn resume(
        &self,
        slot: &SlotId,
        exit: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        self.0.slots.resume(slot, exit)
    }

    /// Closes `slot` and leaves its directory as it is.
    pub fn release(&self, slot: &SlotId) {
        self.0.slots.close(slot);
    }

    /// Closes `slot` and removes its directory.
    pub fn close(&self, slot: &SlotId) {
        self.release(slot);
        match fs::remove_dir_all(self.directory(slot)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!(%slot, %error, "cannot remove the directory of a link");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// A directory beside the links' root, for sockets that are no slot's.
    pub(crate) fn sibling_directory(&self, suffix: &str) -> PathBuf {
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
