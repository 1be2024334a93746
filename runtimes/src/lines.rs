//! Which slots are listened for, who has called, and which run each of them serves.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use mgx_protocol::JsonFrames;
use mgx_protocol::SlotId;
use mgx_protocol::{FromRunner, Invocation, OLDEST_VERSION, ToRunner, VERSION};
use tokio::sync::Notify;
use tokio_util::codec::Encoder;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug_span};

use crate::driver::{Control, Driver};
use crate::latest::Latest;
use crate::parked::{self, Parked};
use crate::{Ended, Run, RuntimeError, RuntimeErrorKind};

/// One line per slot; each is kept open by a `K`. When this is dropped, every run ends without a word.
pub(crate) struct Lines<K>(Mutex<HashMap<SlotId, Line<K>>>);

struct Line<K> {
    controls: Arc<Latest<Control>>,
    /// The version of a runner that called and cannot be understood.
    stranger: Arc<OnceLock<u32>>,
    driver: Option<AbortOnDropHandle<()>>,
    /// Attends to a runner that waits to be claimed.
    attendant: Option<AbortOnDropHandle<()>>,
    _keeper: K,
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K> Lines<K> {
    /// Opens the line of `slot` with what `listen` makes: it puts those who call into the given place.
    ///
    /// # Errors
    /// `Conflict` if it is open already; or the error of `listen`.
    pub(crate) fn open(
        &self,
        slot: &SlotId,
        listen: impl FnOnce(Arc<Latest<Control>>, Arc<OnceLock<u32>>) -> Result<K, RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let mut lines = self.lock();
        if lines.contains_key(slot) {
            return Err(RuntimeError::new(RuntimeErrorKind::Conflict, format!("slot {slot} is taken")));
        }
        let controls = Arc::new(Latest::default());
        let stranger = Arc::new(OnceLock::new());
        let keeper = listen(Arc::clone(&controls), Arc::clone(&stranger))?;
        lines.insert(
            slot.clone(),
            Line { controls, stranger, driver: None, attendant: None, _keeper: keeper },
        );
        Ok(())
    }

    /// Waits until the runner of `slot` has called, at most for `limit`. Says whether it has its invocation.
    pub(crate) async fn ready(&self, slot: &SlotId, limit: Duration) -> Result<bool, RuntimeError> {
        let line = self.lock().get(slot).map(|line| (Arc::clone(&line.controls), Arc::clone(&line.stranger)));
        let (controls, stranger) = line.ok_or_else(|| not_found(slot))?;
        let called = controls.peek(|control| control.ready.invoked.is_some());
        tokio::time::timeout(limit, called).await.map_err(|_| match stranger.get() {
            None => {
                let message = format!("the runner of slot {slot} did not call within {} s", limit.as_secs());
                RuntimeError::new(RuntimeErrorKind::NotReady, message)
            }
            Some(version) => {
                let message = format!(
                    "the runner of slot {slot} speaks version {version} of the link, this platform {OLDEST_VERSION} to \
                     {VERSION}: let it end with the platform that started it, or build the agent image anew"
                );
                RuntimeError::new(RuntimeErrorKind::Refused, message)
            }
        })
    }

    /// Holds the runner of `slot`, which has called and can be claimed. `left` is rung when it hangs up.
    pub(crate) fn park(&self, slot: &SlotId, left: Arc<Notify>) -> Result<Parked, RuntimeError> {
        let mut lines = self.lock();
        let line = lines.get_mut(slot).ok_or_else(|| not_found(slot))?;
        let unfit =
            |why| RuntimeError::new(RuntimeErrorKind::NotReady, format!("the runner of slot {slot} {why}"));
        let control = line.controls.try_take().ok_or_else(|| unfit("is not connected"))?;
        let (None, Some(nonce)) = (control.ready.invoked, control.ready.nonce) else {
            line.controls.put_back(control);
            return Err(unfit("cannot be claimed"));
        };
        let (parked, waiting) = Parked::new(nonce, control.process);
        let attending = parked::attend(control, waiting, Arc::clone(&line.controls), left);
        let attending = tokio::spawn(attending.instrument(debug_span!("parked", %slot)));
        line.attendant = Some(AbortOnDropHandle::new(attending));
        Ok(parked)
    }

    /// Runs `invocation` in `slot`, which must not have served before.
    pub(crate) fn start(
        &self,
        slot: &SlotId,
        invocation: Invocation,
        death: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        let frame = ToRunner::Invocation(Box::new(invocation.clone()));
        JsonFrames::<FromRunner, ToRunner>::default().encode(&frame, &mut BytesMut::new()).map_err(
            |error| {
                RuntimeError::new(RuntimeErrorKind::Refused, "the invocation is too large").because(error)
            },
        )?;
        if self.lock().get(slot).is_some_and(|line| line.driver.is_some()) {
            let message = format!("slot {slot} was invoked before");
            return Err(RuntimeError::new(RuntimeErrorKind::Conflict, message));
        }
        self.drive(slot, Some(invocation), death)
    }

    /// Takes up the run of `slot` where an earlier [`Run`] left it.
    pub(crate) fn resume(
        &self,
        slot: &SlotId,
        death: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        self.drive(slot, None, death)
    }

    /// Closes the line of `slot`, and ends its run without a word.
    pub(crate) fn close(&self, slot: &SlotId) {
        self.lock().remove(slot);
    }

    fn drive(
        &self,
        slot: &SlotId,
        invocation: Option<Invocation>,
        death: impl Future<Output = Ended> + Send + 'static,
    ) -> Result<Run, RuntimeError> {
        let mut lines = self.lock();
        let line = lines.get_mut(slot).ok_or_else(|| not_found(slot))?;
        let (driver, run) = Driver::new(Arc::clone(&line.controls), invocation);
        let driving = tokio::spawn(driver.drive(death).instrument(debug_span!("run", %slot)));
        line.driver = Some(AbortOnDropHandle::new(driving));
        Ok(run)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SlotId, Line<K>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> fmt::Debug for Lines<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

fn not_found(slot: &SlotId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("there is no container in slot {slot}"))
}
