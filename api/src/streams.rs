//! How many event streams may be open, in all and for one session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mgx_agent_runner::SessionId;

use crate::problem::{Problem, Slug};

/// Counts open streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams {
    open: Arc<Mutex<Open>>,
    per_session: usize,
    in_all: usize,
}

#[derive(Debug, Default)]
struct Open {
    sessions: HashMap<SessionId, usize>,
    in_all: usize,
}

/// One open stream; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    streams: Streams,
    session: SessionId,
}

impl Streams {
    /// At most `per_session` streams of one session, and `in_all` together.
    pub fn new(per_session: usize, in_all: usize) -> Self {
        Self { open: Arc::default(), per_session, in_all }
    }

    /// Counts one more stream of `session`.
    ///
    /// # Errors
    /// `too-many-streams`.
    pub(crate) fn open(&self, session: &SessionId) -> Result<Ticket, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_session = open.sessions.get(session).copied().unwrap_or(0);
        if of_session >= self.per_session {
            return Err(refusal("streams.per_session", self.per_session));
        }
        if open.in_all >= self.in_all {
            return Err(refusal("streams.in_all", self.in_all));
        }
        open.in_all += 1;
        open.sessions.insert(session.clone(), of_session + 1);
        Ok(Ticket { streams: self.clone(), session: session.clone() })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.in_all = open.in_all.saturating_sub(1);
        match open.sessions.get_mut(&self.session) {
            Some(count) if *count > 1 => *count -= 1,
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

    #[test]
    fn a_closed_stream_makes_room() {
        let streams = Streams::new(2, 3);
        let [a, b]: [SessionId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
        let first = streams.open(&a).unwrap();
        let _second = streams.open(&a).unwrap();
        assert_eq!(streams.open(&a).unwrap_err().slug(), Slug::TooManyStreams);
        let third = streams.open(&b).unwrap();
        assert_eq!(streams.open(&b).unwrap_err().slug(), Slug::TooManyStreams, "three in all");
        drop((first, third));
        let _fourth = streams.open(&a).unwrap();
        assert_eq!(streams.open.lock().unwrap().sessions.len(), 1, "nothing is kept of closed streams");
    }
}
