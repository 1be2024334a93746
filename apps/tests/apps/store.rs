//! A session store in memory whose writes can be made to fail.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mgx_apps::{MessagePage, Session, SessionStore, StoreError, Usage};
use mgx_protocol::SessionId;
use mgx_scheduler::Event;

#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    rows: Mutex<BTreeMap<SessionId, Session>>,
    is_down: AtomicBool,
}

impl MemoryStore {
    /// From now on every write fails, as if the power had gone just before it.
    pub(crate) fn cut(&self, down: bool) {
        self.is_down.store(down, Ordering::SeqCst);
    }

    fn write<T>(&self, work: impl FnOnce(&mut BTreeMap<SessionId, Session>) -> T) -> Result<T, StoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the power is cut".to_owned()));
        }
        Ok(work(&mut self.rows.lock().unwrap()))
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn insert(&self, session: &Session) -> Result<(), StoreError> {
        self.write(|rows| {
            if rows.contains_key(&session.id) {
                return Err(StoreError::Conflict);
            }
            rows.insert(session.id.clone(), session.clone());
            Ok(())
        })?
    }

    async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.rows.lock().unwrap().get(id).cloned())
    }

    async fn sessions(
        &self,
        user: Option<&str>,
        before: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        let rows = self.rows.lock().unwrap();
        let mut found: Vec<_> =
            rows.values().filter(|row| user.is_none_or(|user| row.user == user)).cloned().collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        let from = before.and_then(|id| found.iter().position(|row| row.id == *id)).map_or(0, |at| at + 1);
        Ok(found.into_iter().skip(from).take(limit).collect())
    }

    async fn messages(&self, _: &SessionId, _: MessagePage) -> Result<Vec<Event>, StoreError> {
        Ok(Vec::new())
    }

    async fn delete(&self, id: &SessionId) -> Result<bool, StoreError> {
        self.write(|rows| rows.remove(id).is_some())
    }

    async fn add_usage(&self, id: &SessionId, used: Usage) -> Result<Usage, StoreError> {
        self.write(|rows| {
            let Some(row) = rows.get_mut(id) else { return Usage::default() };
            row.usage.requests += used.requests;
            row.usage.prompt_tokens += used.prompt_tokens;
            row.usage.completion_tokens += used.completion_tokens;
            row.usage.cost_micros += used.cost_micros;
            row.usage
        })
    }
}
