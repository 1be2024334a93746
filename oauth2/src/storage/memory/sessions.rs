//! Browser sessions and devices, in memory.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::accounts::browser_session::BrowserSession;
use crate::base::digest::Digest;
use crate::base::ids::{ClientId, SessionId, UserId};
use crate::grants::device::{Device, DeviceDecision, DevicePoll};
use crate::grants::grant::Grant;
use crate::grants::user_code::UserCode;
use crate::storage::memory::{Inner, MemoryStorage};
use crate::storage::{Sessions, StorageError};

#[async_trait]
impl Sessions for MemoryStorage {
    async fn add_session(&self, session: &BrowserSession) -> Result<(), StorageError> {
        self.lock().sessions.insert(session.id, session.clone());
        Ok(())
    }

    async fn session_of_cookie(
        &self,
        cookie: Digest,
        now: Timestamp,
    ) -> Result<Option<BrowserSession>, StorageError> {
        let of = |session: &&BrowserSession| session.cookie == cookie && now < session.expires_at;
        Ok(self.lock().sessions.values().find(of).cloned())
    }

    async fn sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<BrowserSession>, StorageError> {
        let mut sessions: Vec<BrowserSession> = self.lock().sessions.values().cloned().collect();
        sessions.retain(|session| session.user == user && now < session.expires_at);
        sessions.sort_by_key(|session| std::cmp::Reverse(session.auth_time));
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn remove_session(&self, id: SessionId) -> Result<bool, StorageError> {
        Ok(self.lock().sessions.remove(&id).is_some())
    }

    async fn remove_sessions_of(&self, user: UserId) -> Result<(), StorageError> {
        self.lock().sessions.retain(|_, session| session.user != user);
        Ok(())
    }

    async fn add_device(&self, device: &Device, now: Timestamp) -> Result<bool, StorageError> {
        let mut inner = self.lock();
        let taken = inner.devices.get(&device.user_code).is_some_and(|other| now < other.expires_at);
        if !taken {
            inner.devices.insert(device.user_code.clone(), device.clone());
        }
        Ok(!taken)
    }

    async fn device(&self, code: &UserCode) -> Result<Option<Device>, StorageError> {
        Ok(self.lock().devices.get(code).cloned())
    }

    async fn decide_device(
        &self,
        code: &UserCode,
        allowed: Option<&Grant>,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let Inner { devices, grants, .. } = &mut *self.lock();
        let Some(device) = devices.get_mut(code).filter(|device| device.is_open(now)) else {
            return Ok(false);
        };
        device.decision = allowed.map_or(DeviceDecision::Denied, |grant| DeviceDecision::Allowed(grant.id));
        grants.extend(allowed.map(|grant| (grant.id, grant.clone())));
        Ok(true)
    }

    async fn poll_device(
        &self,
        device: Digest,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll<Box<Grant>>, StorageError> {
        let Inner { devices, grants, .. } = &mut *self.lock();
        let Some(known) = devices.values_mut().find(|known| known.digest == device) else {
            return Ok(DevicePoll::Unknown);
        };
        let (polled, code) = (known.poll(client, now), known.user_code.clone());
        Ok(match polled {
            DevicePoll::Pending => DevicePoll::Pending,
            DevicePoll::SlowDown => DevicePoll::SlowDown,
            DevicePoll::Expired => DevicePoll::Expired,
            DevicePoll::Unknown => DevicePoll::Unknown,
            DevicePoll::Denied => {
                devices.remove(&code);
                DevicePoll::Denied
            }
            DevicePoll::Allowed(grant) => {
                devices.remove(&code);
                grants
                    .get(&grant)
                    .cloned()
                    .map_or(DevicePoll::Unknown, |grant| DevicePoll::Allowed(Box::new(grant)))
            }
        })
    }
}
