//! The queue of a store's one writer: callers wait for the transaction that their change is part of, and the writer takes
//! all changes that are queued and commits them as a group.
//!
//! One commit serves every change of a group, so the busier the store is, the cheaper each change becomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::Failure;

/// How many changes may wait for their transaction.
const CAPACITY: usize = 4096;

/// How long a change waits for its transaction to begin.
const START_TIMEOUT: Duration = Duration::from_secs(2);

/// The callers' side of the queue; `C` is a change together with its [`Reply`].
#[derive(Debug)]
pub(crate) struct ChangeQueue<C> {
    sender: Mutex<Option<mpsc::Sender<C>>>,
    /// What a caller is told whose change does not begin in time.
    busy: &'static str,
}

/// The writer's side of one change: whether it may begin, and where its result goes.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    /// Set by the writer when the change begins, or by the caller when its time is over, whichever is first.
    decided: Arc<AtomicBool>,
    result: oneshot::Sender<T>,
}

impl<C: Send> ChangeQueue<C> {
    /// An open queue, and the writer's end of it. A caller whose change does not begin in time gets `busy` as the reason.
    pub(crate) fn new(busy: &'static str) -> (Self, mpsc::Receiver<C>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender: Mutex::new(Some(sender)), busy }, receiver)
    }

    /// Queues a change and waits for its result.
    ///
    /// A change that does not begin within two seconds is withdrawn: nothing of it will happen. One that has begun is
    /// waited for, however long the writer takes, because otherwise it would remain open whether it happened.
    pub(crate) async fn submit<T>(&self, change: impl FnOnce(Reply<T>) -> C) -> Result<T, Failure> {
        let (result, mut answer) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        let change = change(Reply { decided: Arc::clone(&decided), result });
        let deadline = Instant::now() + START_TIMEOUT;
        let sender = self.lock().clone().ok_or_else(Failure::closed)?;
        match timeout_at(deadline, sender.send(change)).await {
            Ok(sent) => sent.map_err(|_| Failure::closed())?,
            Err(_) => return Err(self.busy()),
        }
        drop(sender);
        match timeout_at(deadline, &mut answer).await {
            Ok(answer) => answer.map_err(|_| Failure::closed()),
            Err(_) if !decided.swap(true, Ordering::AcqRel) => Err(self.busy()),
            Err(_) => answer.await.map_err(|_| Failure::closed()),
        }
    }

    /// Queues what `change` makes, each time it is called, if there is room. Waits for nothing, and does not keep the queue
    /// open.
    pub(crate) fn waker(&self, change: fn() -> C) -> impl Fn() + Send + use<C>
    where
        C: 'static,
    {
        let sender = self.lock().as_ref().map(mpsc::Sender::downgrade);
        move || {
            if let Some(sender) = sender.as_ref().and_then(mpsc::WeakSender::upgrade) {
                // a full queue wakes the writer too
                sender.try_send(change()).ok();
            }
        }
    }

    /// Refuses further changes. The writer ends when it has committed those that are queued.
    pub(crate) fn close(&self) {
        drop(self.lock().take());
    }

    /// The failure of a change that was withdrawn.
    pub(crate) fn busy(&self) -> Failure {
        Failure::Unavailable(self.busy.to_owned())
    }

    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<C>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reply<T> {
    /// Whether the change is to be made: its caller still waits, and waits from now on until the result is there.
    pub(crate) fn begin(&self) -> bool {
        !self.result.is_closed() && !self.decided.swap(true, Ordering::AcqRel)
    }

    /// Sends the result. The caller may be gone; the change has been made all the same.
    pub(crate) fn send(self, result: T) {
        self.result.send(result).ok();
    }
}
