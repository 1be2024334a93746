//! The event streams that are open: how many there may be, in all and of one session, and what those share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_agent_runner::SessionId;
use mgx_scheduler::{EventLog, Head};

use crate::problem::{Problem, Slug};
use crate::tail::Tail;

/// The open streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    per_session: usize,
    in_all: usize,
}

#[derive(Debug, Default)]
struct Open {
    sessions: HashMap<SessionId, Followed>,
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
    tail: Arc<Tail>,
}

impl Streams {
    /// At most `per_session` streams of one session, and `in_all` together.
    pub fn new(per_session: usize, in_all: usize) -> Self {
        Self { open: Arc::default(), per_session, in_all }
    }

    /// Counts one more stream of `session`, whose log stood at `head` a moment ago.
    ///
    /// # Errors
    /// `too-many-streams`.
    pub(crate) fn open(&self, session: &SessionId, log: &EventLog, head: Head) -> Result<Ticket, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_session = open.sessions.get(session).map_or(0, |followed| followed.streams);
        if of_session >= self.per_session {
            return Err(refusal("streams.per_session", self.per_session));
        }
        if open.in_all >= self.in_all {
            return Err(refusal("streams.in_all", self.in_all));
        }
        open.in_all += 1;
        let followed = open.sessions.entry(session.clone()).or_insert_with(|| Followed {
            streams: 0,
            tail: Arc::new(Tail::start(log.clone(), session.clone(), head)),
        });
        followed.streams += 1;
        Ok(Ticket { streams: self.clone(), session: session.clone(), tail: followed.tail.clone() })
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
        let streams = Streams::new(2, 3);
        let open = |session| streams.open(session, door.scheduler.log(), Head::default());
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
}
