//! The event streams that are open: how many there may be, in all and of one session, and what those share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_protocol::SessionId;
use mgx_scheduler::{EventLog, Head};

use crate::problem::{Problem, Slug};
use crate::tail::Tail;

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
    /// Of one user: of whoever reads, not of whoever is read about.
    pub per_user: usize,
    /// Of all sessions together.
    pub in_all: usize,
}

#[derive(Debug, Default)]
struct Open {
    sessions: HashMap<SessionId, Followed>,
    users: HashMap<String, usize>,
    in_all: usize,
}

/// A session with open streams.
#[derive(Debug)]
struct Followed {
    streams: usize,
    tail: Arc<Tail>,
}

/// One open stream; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    streams: Streams,
    session: SessionId,
    user: String,
    tail: Arc<Tail>,
}

impl Streams {
    /// At most so many streams.
    pub fn new(bounds: StreamBounds) -> Self {
        Self { open: Arc::default(), bounds }
    }

    /// Counts one more stream of `session` for `user`; the session's log stood at `head` a moment ago.
    ///
    /// # Errors
    /// `too-many-streams`.
    pub(crate) fn open(
        &self,
        session: &SessionId,
        user: &str,
        log: &EventLog,
        head: Head,
    ) -> Result<Ticket, Problem> {
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
        let followed = open.sessions.entry(session.clone()).or_insert_with(|| Followed {
            streams: 0,
            tail: Arc::new(Tail::start(log.clone(), session.clone(), head)),
        });
        followed.streams += 1;
        let (tail, user) = (followed.tail.clone(), user.to_owned());
        Ok(Ticket { streams: self.clone(), session: session.clone(), user, tail })
    }
}

impl Ticket {
    /// What all streams of the session share.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }
}

impl Drop for Ticket {
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
mod tests {
    use super::*;
    use crate::testing::door::door;

    #[tokio::test]
    async fn a_closed_stream_makes_room() {
        let door = door().await;
        let streams = Streams::new(StreamBounds { per_session: 2, per_user: 3, in_all: 3 });
        let open = |session| streams.open(session, "ann", door.scheduler.log(), Head::default());
        let [a, b]: [SessionId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
        let first = open(&a).unwrap();
        let _second = open(&a).unwrap();
        assert_eq!(open(&a).unwrap_err().slug(), Slug::TooManyStreams);
        let third = open(&b).unwrap();
        assert_eq!(open(&b).unwrap_err().slug(), Slug::TooManyStreams, "three in all");
        drop((first, third));
        let _fourth = open(&a).unwrap();
        assert_eq!(streams.open.lock().unwrap().sessions.len(), 1, "nothing is kept of closed streams");
    }

    #[tokio::test]
    async fn one_user_leaves_room_for_the_others() {
        let door = door().await;
        let streams = Streams::new(StreamBounds { per_session: 9, per_user: 2, in_all: 9 });
        let session = "a".parse().unwrap();
        let open = |user| streams.open(&session, user, door.scheduler.log(), Head::default());
        let first = open("ann").unwrap();
        let _second = open("ann").unwrap();
        assert_eq!(open("ann").unwrap_err().slug(), Slug::TooManyStreams);
        let bert = open("bert").unwrap();
        drop(first);
        let _third = open("ann").unwrap();
        drop(bert);
        assert_eq!(streams.open.lock().unwrap().users.len(), 1, "nothing is kept of who has left");
    }
}
