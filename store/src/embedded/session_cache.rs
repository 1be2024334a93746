//! The cache of sessions: every request and every start of a container reads one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mgx_apps::Session;
use mgx_protocol::SessionId;

/// How many sessions are kept. When there are more, all are dropped: that is simple, and they are soon read again.
const CAPACITY: usize = 4096;

/// Sessions as they are stored. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionCache(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<SessionId, Session>,
    /// Counts up whenever a session may have changed.
    version: u64,
}

/// Removes a session from the cache when it is dropped. A change to the session owns this value, and is dropped after its
/// commit and before its caller gets the result.
#[derive(Debug)]
pub(crate) struct Invalidation {
    cache: SessionCache,
    id: SessionId,
}

/// The version of the cache before a read of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version(u64);

impl SessionCache {
    /// A session, or the version of the cache if it has to be read from the store.
    pub(crate) fn get(&self, id: &SessionId) -> Result<Session, Version> {
        let inner = self.lock();
        inner.sessions.get(id).cloned().ok_or(Version(inner.version))
    }

    /// Keeps a session that was read from the store, unless a session may have changed since the read began.
    pub(crate) fn insert(&self, session: &Session, before: Version) {
        let mut inner = self.lock();
        if inner.version == before.0 {
            if inner.sessions.len() >= CAPACITY {
                inner.sessions.clear();
            }
            inner.sessions.insert(session.id.clone(), session.clone());
        }
    }

    /// Drops all sessions.
    pub(crate) fn clear(&self) {
        self.lock().sessions.clear();
    }

    /// The value that a change to session `id` has to own.
    pub(crate) fn invalidation(&self, id: SessionId) -> Invalidation {
        Invalidation { cache: self.clone(), id }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Invalidation {
    /// The session that may change.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }
}

impl Drop for Invalidation {
    fn drop(&mut self) {
        let mut inner = self.cache.lock();
        inner.sessions.remove(&self.id);
        inner.version += 1;
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
    fn a_session_is_cached_until_it_changes() {
        let (cache, session) = (SessionCache::default(), session());
        let before = cache.get(&session.id).unwrap_err();
        cache.insert(&session, before);
        assert_eq!(cache.get(&session.id).unwrap(), session);
        drop(cache.invalidation(session.id.clone()));
        assert!(cache.get(&session.id).is_err());
    }

    #[test]
    fn a_session_that_changed_while_it_was_read_is_not_cached() {
        let (cache, session) = (SessionCache::default(), session());
        let before = cache.get(&session.id).unwrap_err();
        drop(cache.invalidation(session.id.clone()));
        cache.insert(&session, before);
        assert!(cache.get(&session.id).is_err(), "an old version would stay");
    }

    #[test]
    fn the_cache_does_not_grow_beyond_its_capacity() {
        let cache = SessionCache::default();
        for number in 0..=CAPACITY {
            let session = Session { id: format!("demo-{number}").parse().unwrap(), ..session() };
            let before = cache.get(&session.id).unwrap_err();
            cache.insert(&session, before);
        }
        assert_eq!(cache.lock().sessions.len(), 1);
    }
}
