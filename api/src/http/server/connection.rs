//! The timeouts of one connection: the server closes it when no request comes, or when the client takes no byte of an
//! answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a connection may stay without a byte before the server closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionTimeouts {
    /// From the first byte of a request (the beginning, for the first one) to the end of its head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Without taking one byte of the answer.
    pub stalled: Duration,
}

/// What a connection is waiting for; shared by its socket, its service and its answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// `HEAD` or `IDLE`, which counts while no request is being answered.
    between: AtomicU8,
    /// Requests that are being answered: at most one, except with HTTP/2.
    busy: AtomicUsize,
    /// Requests so far.
    requests: AtomicU64,
    /// Whether requests are answered side by side (HTTP/2): then a byte tells nothing about the next request.
    is_multiplexed: AtomicBool,
    /// With HTTP/2, the answers that are being sent.
    answers: Mutex<Vec<Weak<Taken>>>,
}

const HEAD: u8 = 0;
const BUSY: u8 = 1;
const IDLE: u8 = 2;

impl Phase {
    /// The phase of a connection whose requests are answered side by side.
    pub(crate) fn multiplexed() -> Self {
        let phase = Self::default();
        phase.0.is_multiplexed.store(true, Ordering::Relaxed);
        phase
    }

    /// Marks the connection as busy with a request until the returned token is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.0.between.store(IDLE, Ordering::Relaxed);
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn get(&self) -> u8 {
        if self.0.busy.load(Ordering::Relaxed) > 0 { BUSY } else { self.0.between.load(Ordering::Relaxed) }
    }

    /// The phase, and how many requests there were: whether anything has happened since the last time.
    fn now(&self) -> (u8, u64) {
        (self.get(), self.0.requests.load(Ordering::Relaxed))
    }

    fn is_multiplexed(&self) -> bool {
        self.0.is_multiplexed.load(Ordering::Relaxed)
    }

    /// Waits until the client has taken nothing of one of its answers for `timeout`, although there is something to take.
    pub(crate) async fn stalled(&self, timeout: Duration) {
        loop {
            sleep(timeout / 4).await;
            let mut answers = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.retain(|answer| answer.strong_count() > 0);
            if answers.iter().filter_map(Weak::upgrade).any(|answer| answer.is_older_than(timeout)) {
                return;
            }
        }
    }
}

/// A request is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Phase);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When a piece of an answer was given out that the client has not taken yet.
#[derive(Debug, Default)]
struct Taken(Mutex<Option<Instant>>);

impl Taken {
    fn set(&self, given: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = given;
    }

    fn is_older_than(&self, timeout: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|given| given.elapsed() > timeout)
    }
}

/// The body of an answer; the connection is busy until it has been sent or given up.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Body,
    /// With HTTP/2, whose connection asks for the next piece when the client has room for one.
    taken: Option<Arc<Taken>>,
    _busy: Busy,
}

impl Answer {
    pub(crate) fn new(body: Body, busy: Busy) -> Self {
        let shared = &busy.0.0;
        let taken = busy.0.is_multiplexed().then(|| {
            let taken = Arc::new(Taken::default());
            let mut answers = shared.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.retain(|answer| answer.strong_count() > 0);
            answers.push(Arc::downgrade(&taken));
            taken.clone()
        });
        Self { body, taken, _busy: busy }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(taken) = &self.taken {
            taken.set(matches!(frame, Poll::Ready(Some(_))).then(Instant::now));
        }
        frame
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose reads and writes fail with `TimedOut` when a timeout has passed.
#[derive(Debug)]
pub(crate) struct TimedSocket<S> {
    socket: S,
    phase: Phase,
    last: (u8, u64),
    timeouts: ConnectionTimeouts,
    read_deadline: Pin<Box<Sleep>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedSocket<S> {
    pub(crate) fn new(socket: S, phase: Phase, timeouts: ConnectionTimeouts) -> Self {
        Self {
            socket,
            phase,
            last: (HEAD, 0),
            timeouts,
            read_deadline: Box::pin(sleep(timeouts.head)),
            write_deadline: None,
        }
    }

    /// Moves the deadline when the phase has changed.
    fn update_deadline(&mut self) {
        let now = self.phase.now();
        if now != self.last {
            self.last = now;
            let timeout = if now.0 == HEAD { self.timeouts.head } else { self.timeouts.idle };
            self.read_deadline.as_mut().reset(Instant::now() + timeout);
        }
    }

    /// The outcome of a write; one that has to wait too long has failed.
    fn time_write<T>(&mut self, outcome: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_deadline = None;
            return outcome;
        }
        let timeout = self.timeouts.stalled;
        ready!(self.write_deadline.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buf);
        if outcome.is_ready() {
            let is_next = !self.phase.is_multiplexed() && self.phase.get() == IDLE;
            if buf.filled().len() > before && is_next {
                // the first byte of the next request; only this task writes the phase of an idle connection
                self.phase.0.between.store(HEAD, Ordering::Relaxed);
                self.update_deadline();
            }
            return outcome;
        }
        self.update_deadline();
        if self.last.0 == BUSY {
            return Poll::Pending;
        }
        ready!(self.read_deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.time_write(outcome, cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.time_write(outcome, cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
