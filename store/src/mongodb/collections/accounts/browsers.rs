//! [`Sessions`] on MongoDB: browsers in which a user is signed in, and devices that wait for a user's approval.

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_oauth2::{
    BrowserSession, ClientId, Device, DeviceDecision, DevicePoll, Digest, Grant, Grants, SessionId, Sessions,
    StorageError, UserCode, UserId,
};
use mongodb::bson::{RawDocument, RawDocumentBuf, doc, rawdoc};

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{bytes, date, uuid};
use crate::mongodb::collections::accounts::{MAX_ATTEMPTS, body, contention, unchanged, value};
use crate::mongodb::request::in_time;

#[async_trait]
impl Sessions for MongoDb {
    async fn add_session(&self, session: &BrowserSession) -> Result<(), StorageError> {
        Ok(self.put("browsers", doc! { "_id": uuid(session.id.0) }, browser_document(session)?).await?)
    }

    async fn session_of_cookie(
        &self,
        cookie: Digest,
        now: Timestamp,
    ) -> Result<Option<BrowserSession>, StorageError> {
        let found = self.find_one("browsers", doc! { "cookie": bytes(&cookie.0) }).await?;
        let found: Option<BrowserSession> = found.map(|row| value(&row)).transpose()?;
        Ok(found.filter(|session| now < session.expires_at))
    }

    async fn sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<BrowserSession>, StorageError> {
        let mut sessions: Vec<BrowserSession> =
            self.values("browsers", doc! { "user": uuid(user.0) }).await?;
        sessions.retain(|session| now < session.expires_at);
        sessions.sort_by_key(|session| std::cmp::Reverse(session.auth_time));
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn remove_session(&self, id: SessionId) -> Result<bool, StorageError> {
        Ok(self.remove("browsers", doc! { "_id": uuid(id.0) }).await? == 1)
    }

    async fn remove_sessions_of(&self, user: UserId) -> Result<(), StorageError> {
        Ok(self.remove("browsers", doc! { "user": uuid(user.0) }).await.map(drop)?)
    }

    async fn add_device(&self, device: &Device, now: Timestamp) -> Result<bool, StorageError> {
        let row = device_document(device)?;
        if self.insert("devices", row.clone()).await? {
            return Ok(true);
        }
        let Some(other) = self.find_one("devices", doc! { "_id": device.user_code.as_str() }).await? else {
            // another one of this hash, or one that was deleted just now: the next code will do
            return Ok(false);
        };
        let expired = now >= value::<Device>(&other)?.expires_at;
        Ok(expired && self.replace_unchanged("devices", &other, row).await?)
    }

    async fn device(&self, code: &UserCode) -> Result<Option<Device>, StorageError> {
        let found = self.find_one("devices", doc! { "_id": code.as_str() }).await?;
        Ok(found.map(|row| value(&row)).transpose()?)
    }

    async fn decide_device(
        &self,
        code: &UserCode,
        allowed: Option<&Grant>,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(before) = self.find_one("devices", doc! { "_id": code.as_str() }).await? else {
                return Ok(false);
            };
            let device: Device = value(&before)?;
            if !device.is_open(now) {
                return Ok(false);
            }
            if let Some(grant) = allowed {
                // before the device says so; without the device, no token is ever issued for this grant
                self.add_grant(grant, None).await?;
            }
            let decision = allowed.map_or(DeviceDecision::Denied, |grant| DeviceDecision::Allowed(grant.id));
            if self
                .replace_unchanged("devices", &before, device_document(&Device { decision, ..device })?)
                .await?
            {
                return Ok(true);
            }
            if let Some(grant) = allowed {
                self.remove("grants", doc! { "_id": uuid(grant.id.0) }).await?;
            }
        }
        Err(contention().into())
    }

    async fn poll_device(
        &self,
        device: Digest,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll<Box<Grant>>, StorageError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(before) = self.find_one("devices", doc! { "digest": bytes(&device.0) }).await? else {
                return Ok(DevicePoll::Unknown);
            };
            let mut device: Device = value(&before)?;
            let (answer, done) = match device.poll(client, now) {
                DevicePoll::Unknown => return Ok(DevicePoll::Unknown),
                DevicePoll::Expired => return Ok(DevicePoll::Expired),
                DevicePoll::Pending => (
                    DevicePoll::Pending,
                    self.replace_unchanged("devices", &before, device_document(&device)?).await?,
                ),
                DevicePoll::SlowDown => (
                    DevicePoll::SlowDown,
                    self.replace_unchanged("devices", &before, device_document(&device)?).await?,
                ),
                DevicePoll::Denied => (DevicePoll::Denied, self.delete_device(&before).await?),
                DevicePoll::Allowed(id) => {
                    let grant = self.grant(id).await?;
                    let answer =
                        grant.map_or(DevicePoll::Unknown, |grant| DevicePoll::Allowed(Box::new(grant)));
                    (answer, self.delete_device(&before).await?)
                }
            };
            if done {
                return Ok(answer);
            }
        }
        Err(contention().into())
    }
}

impl MongoDb {
    /// Deletes a device if it is unchanged. Whether it was: then no other request has deleted it.
    async fn delete_device(&self, before: &RawDocument) -> Result<bool, Failure> {
        let unchanged = unchanged(before)?;
        let deleted = in_time(async { self.collection("devices").delete_one(unchanged).await });
        Ok(deleted.await?.deleted_count == 1)
    }
}

pub(crate) fn browser_document(session: &BrowserSession) -> Result<RawDocumentBuf, Failure> {
    Ok(rawdoc! {
        "_id": uuid(session.id.0),
        "cookie": bytes(&session.cookie.0),
        "user": uuid(session.user.0),
        "auth_time": date(session.auth_time).0,
        "expires_at": date(session.expires_at).0,
        "body": body(session)?,
    })
}

pub(crate) fn device_document(device: &Device) -> Result<RawDocumentBuf, Failure> {
    Ok(rawdoc! {
        "_id": device.user_code.as_str(),
        "digest": bytes(&device.digest.0),
        "client": device.client.as_str(),
        "expires_at": date(device.expires_at).0,
        "body": body(device)?,
    })
}
