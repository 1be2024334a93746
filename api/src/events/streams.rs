//! The open event streams: counted and limited per session, per user and in all. The streams of one session share its
//! [`Tail`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mgx_protocol::SessionId;
use mgx_scheduler::{EventLog, Head};

use super::block::FrameForm;
use super::tail::Tail;
use crate::http::{Problem, Slug};

/// The open streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    bounds: StreamBounds,
}

/// How many streams may be open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamBounds {
    /// Of one session.
    pub per_session: usize,
    /// Of one reading user, whatever sessions the user reads.
    pub per_user: usize,
    /// Of all sessions together.
    pub in_all: usize,
}

#[derive(Debug, Default)]
struct Open {
    sessions: HashMap<SessionId, FollowedSession>,
    users: HashMap<String, usize>,
    in_all: usize,
}

/// A session with open streams.
#[derive(Debug, Default)]
struct FollowedSession {
    streams: usize,
    /// What the streams of each form share, as long as there is one.
    tails: HashMap<FrameForm, Weak<Tail>>,
}

/// One open stream; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    streams: Streams,
    session: SessionId,
    user: String,
    tail: Arc<Tail>,
}

impl Streams {
    /// No stream is open; at most `bounds` may be.
    pub fn new(bounds: StreamBounds) -> Self {
        Self { open: Arc::default(), bounds }
    }

    /// Counts one more stream of `session` for `user`. `head` is the newest event of the session's log that was read.
    ///
    /// # Errors
    /// `too-many-streams`.
    pub(crate) fn open(
        &self,
        session: &SessionId,
        user: &str,
        log: &EventLog,
        head: Head,
        form: FrameForm,
    ) -> Result<OpenStream, Problem> {
        let StreamBounds { per_session, per_user, in_all } = self.bounds;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_session = open.sessions.get(session).map_or(0, |followed| followed.streams);
        if of_session >= per_session {
            return Err(refusal("streams.per_session", per_session));
        }
        if open.users.get(user).is_some_and(|of_user| *of_user >= per_user) {
            return Err(refusal("streams.per_user", per_user));
        }
        if open.in_all >= in_all {
            return Err(refusal("streams.in_all", in_all));
        }
        open.in_all += 1;
        *open.users.entry(user.to_owned()).or_default() += 1;
        let followed = open.sessions.entry(session.clone()).or_default();
        followed.streams += 1;
        let tail = followed.tails.get(&form).and_then(Weak::upgrade).unwrap_or_else(|| {
            let tail = Arc::new(Tail::start(log.clone(), session.clone(), head, form));
            followed.tails.insert(form, Arc::downgrade(&tail));
            tail
        });
        Ok(OpenStream { streams: self.clone(), session: session.clone(), user: user.to_owned(), tail })
    }
}

impl OpenStream {
    /// What all streams of the session of the same form share.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.in_all = open.in_all.saturating_sub(1);
        match open.users.get_mut(&self.user) {
            Some(of_user) if *of_user > 1 => *of_user -= 1,
            Some(_) | None => drop(open.users.remove(&self.user)),
        }
        match open.sessions.get_mut(&self.session) {
            Some(followed) if followed.streams > 1 => followed.streams -= 1,
            Some(_) | None => drop(open.sessions.remove(&self.session)),
        }
    }
}

fn refusal(name: &'static str, max: usize) -> Problem {
    Problem::new(Slug::TooManyStreams, format!("{max} event streams are open, the limit"))
        .limit(name, max as u64, max as u64)
        .retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests;
