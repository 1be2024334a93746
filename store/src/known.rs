//! Sessions that were read lately: every request and every start of a container asks for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mgx_apps::Session;
use mgx_protocol::SessionId;

/// How many are kept. When there are more, all are forgotten: simple, and soon made good.
const KEPT: usize = 4096;

/// Sessions as they are stored. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<SessionId, Session>,
    /// Moves on whenever a session may have changed.
    changes: u64,
}

/// Makes a session forgotten when it is dropped: a change to the session carries it, and is dropped when it has been
/// committed and before anybody hears of it.
#[derive(Debug)]
pub(crate) struct Forget {
    known: Known,
    id: SessionId,
}

/// A moment; what was read since then may be kept if nothing has changed meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(u64);

impl Known {
    /// A session, if it is known, or else since when it is being read.
    pub(crate) fn find(&self, id: &SessionId) -> Result<Session, Since> {
        let inner = self.lock();
        inner.sessions.get(id).cloned().ok_or(Since(inner.changes))
    }

    /// Keeps what was read, unless a session may have changed since the reading began.
    pub(crate) fn keep(&self, session: &Session, since: Since) {
        let mut inner = self.lock();
        if inner.changes == since.0 {
            if inner.sessions.len() >= KEPT {
                inner.sessions.clear();
            }
            inner.sessions.insert(session.id.clone(), session.clone());
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.lock().sessions.clear();
    }

    /// What a change to session `id` has to carry.
    pub(crate) fn forget(&self, id: SessionId) -> Forget {
        Forget { known: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forget {
    /// The session that may change.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }
}

impl Drop for Forget {
    fn drop(&mut self) {
        let mut inner = self.known.lock();
        inner.sessions.remove(&self.id);
        inner.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_apps::{Framework, Usage};

    fn session() -> Session {
        Session {
            id: "demo".parse().unwrap(),
            name: "demo".to_owned(),
            framework: Framework::Nextjs,
            workspace: "demo".parse().unwrap(),
            user: "admin".to_owned(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            usage: Usage::default(),
        }
    }

    #[test]
    fn what_was_read_is_known_until_it_changes() {
        let (known, session) = (Known::default(), session());
        let since = known.find(&session.id).unwrap_err();
        known.keep(&session, since);
        assert_eq!(known.find(&session.id).unwrap(), session);
        drop(known.forget(session.id.clone()));
        assert!(known.find(&session.id).is_err());
    }

    #[test]
    fn what_was_read_while_it_changed_is_not_kept() {
        let (known, session) = (Known::default(), session());
        let since = known.find(&session.id).unwrap_err();
        drop(known.forget(session.id.clone()));
        known.keep(&session, since);
        assert!(known.find(&session.id).is_err(), "an old reading would last");
    }

    #[test]
    fn only_so_many_are_kept() {
        let known = Known::default();
        for number in 0..=KEPT {
            let session = Session { id: format!("demo-{number}").parse().unwrap(), ..session() };
            let since = known.find(&session.id).unwrap_err();
            known.keep(&session, since);
        }
        assert_eq!(known.lock().sessions.len(), 1);
    }
}
