//! The open slots: for each, the connections of its runner, and the run or the claim that uses them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use mgx_protocol::{FromRunner, Invocation, JsonFrames, OLDEST_VERSION, SlotId, ToRunner, VERSION};
use tokio::sync::Notify;
use tokio_util::codec::Encoder;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug_span, warn};

use super::claim::serve_claim;
use super::control_connection::ControlConnection;
use super::invoked_runner::{InvokedRunner, RunnerIdentity};
use super::mailbox::Mailbox;
use super::run_driver::RunDriver;
use crate::{Ended, Run, RuntimeError, RuntimeErrorKind, WarmContainer};

/// The open slots. Dropping this ends every run without an output.
#[derive(Default)]
pub(super) struct SlotTable(Mutex<HashMap<SlotId, OpenSlot>>);

/// A runner that has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// It waits for its invocation, and none was given in this slot, or it has not received it.
    Idle,
    /// It has its invocation.
    Invoked,
    /// It has none, and another runner was given it before: the container was started again.
    Another,
}

struct OpenSlot {
    connections: Arc<Mailbox<ControlConnection>>,
    /// The version of a runner that connected and is not supported.
    refused_version: Arc<OnceLock<u32>>,
    invoked: InvokedRunner,
    driver: Option<AbortOnDropHandle<()>>,
    /// Keeps the connection of a warm runner until it is claimed.
    claim: Option<AbortOnDropHandle<()>>,
    _listener: AbortOnDropHandle<()>,
}

impl SlotTable {
    /// Opens `slot`: `listen` starts the task that puts connections into the given mailbox.
    ///
    /// # Errors
    /// `Conflict` if the slot is open already; or the error of `listen`.
    pub(super) fn open(
        &self,
        slot: &SlotId,
        invoked: InvokedRunner,
        listen: impl FnOnce(
            Arc<Mailbox<ControlConnection>>,
            Arc<OnceLock<u32>>,
        ) -> Result<AbortOnDropHandle<()>, RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let mut slots = self.lock();
        if slots.contains_key(slot) {
            return Err(RuntimeError::new(RuntimeErrorKind::Conflict, format!("slot {slot} is taken")));
        }
        let connections = Arc::new(Mailbox::default());
        let refused_version = Arc::new(OnceLock::new());
        let listener = listen(Arc::clone(&connections), Arc::clone(&refused_version))?;
        slots.insert(
            slot.clone(),
            OpenSlot {
                connections,
                refused_version,
                invoked,
                driver: None,
                claim: None,
                _listener: listener,
            },
        );
        Ok(())
    }

    /// Waits until a runner of `slot` has connected, at most for `limit`; which one it is.
    pub(super) async fn ready(&self, slot: &SlotId, limit: Duration) -> Result<Runner, RuntimeError> {
        let open = self.lock().get(slot).map(|open| {
            (Arc::clone(&open.connections), Arc::clone(&open.refused_version), open.invoked.clone())
        });
        let (connections, refused_version, invoked) = open.ok_or_else(|| not_found(slot))?;
        let connected = connections.peek(|connection| match connection.ready.invoked {
            Some(_) => None,
            None => Some(RunnerIdentity::of(&connection.ready)),
        });
        let connected = tokio::time::timeout(limit, connected).await;
        let idle = connected.map_err(|_| match refused_version.get() {
            None => {
                let message = format!("the runner of slot {slot} did not connect within {} s", limit.as_secs());
                RuntimeError::new(RuntimeErrorKind::NotReady, message)
            }
            Some(version) => {
                let message = format!(
                    "the runner of slot {slot} speaks version {version} of the link, this platform {OLDEST_VERSION} to \
                     {VERSION}: let it end with the platform that started it, or build the agent image anew"
                );
                RuntimeError::new(RuntimeErrorKind::Refused, message)
            }
        })?;
        Ok(match (idle, invoked.read()) {
            (None, _) => Runner::Invoked,
            (Some(_), Ok(None)) => Runner::Idle,
            (Some(runner), Ok(Some(invoked))) if runner.is_surely(invoked) => Runner::Idle,
            (Some(_), Ok(Some(_))) => Runner::Another,
            // the command may have run
            (Some(_), Err(error)) => {
                warn!(%slot, %error, "cannot read which runner an invocation was given to");
                Runner::Another
            }
        })
    }

    /// Keeps the connection of the runner of `slot` until it is claimed; `disconnected` is notified when it breaks.
    pub(super) fn keep_warm(
        &self,
        slot: &SlotId,
        disconnected: Arc<Notify>,
    ) -> Result<WarmContainer, RuntimeError> {
        let mut slots = self.lock();
        let open = slots.get_mut(slot).ok_or_else(|| not_found(slot))?;
        let unfit =
            |why| RuntimeError::new(RuntimeErrorKind::NotReady, format!("the runner of slot {slot} {why}"));
        let connection = open.connections.try_take().ok_or_else(|| unfit("is not connected"))?;
        let (None, Some(nonce)) = (connection.ready.invoked, connection.ready.nonce) else {
            open.connections.put_back(connection);
            return Err(unfit("cannot be claimed"));
        };
        let (warm, claims) = WarmContainer::new(nonce, connection.process);
        let serving = serve_claim(connection, claims, Arc::clone(&open.connections), disconnected);
        let serving = tokio::spawn(serving.instrument(debug_span!("warm", %slot)));
        open.claim = Some(AbortOnDropHandle::new(serving));
        Ok(warm)
    }

    /// Runs `invocation` in `slot`, which must not have had one before.
    pub(super) fn start(
        &self,
        slot: &SlotId,
        invocation: Invocation,
        exit: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        let frame = ToRunner::Invocation(Box::new(invocation.clone()));
        JsonFrames::<FromRunner, ToRunner>::default().encode(&frame, &mut BytesMut::new()).map_err(
            |error| {
                RuntimeError::new(RuntimeErrorKind::Refused, "the invocation is too large").because(error)
            },
        )?;
        if self.lock().get(slot).is_some_and(|open| open.driver.is_some()) {
            let message = format!("slot {slot} was invoked before");
            return Err(RuntimeError::new(RuntimeErrorKind::Conflict, message));
        }
        self.drive(slot, Some(invocation), exit)
    }

    /// Resumes the run of `slot` where an earlier [`Run`] left it.
    pub(super) fn resume(
        &self,
        slot: &SlotId,
        exit: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        self.drive(slot, None, exit)
    }

    /// Closes `slot` and ends its run without an output.
    pub(super) fn close(&self, slot: &SlotId) {
        self.lock().remove(slot);
    }

    fn drive(
        &self,
        slot: &SlotId,
        invocation: Option<Invocation>,
        exit: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        let mut slots = self.lock();
        let open = slots.get_mut(slot).ok_or_else(|| not_found(slot))?;
        let (driver, run) = RunDriver::new(Arc::clone(&open.connections), invocation, open.invoked.clone());
        let driving = tokio::spawn(driver.drive(exit).instrument(debug_span!("run", %slot)));
        open.driver = Some(AbortOnDropHandle::new(driving));
        Ok(run)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, OpenSlot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

fn not_found(slot: &SlotId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("there is no container in slot {slot}"))
}
