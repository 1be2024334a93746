//! [`Sessions`] on SQLite: browsers in which a user is signed in, and devices that wait for a user's approval.

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_oauth2::{
    BrowserSession, ClientId, Device, DeviceDecision, DevicePoll, Digest, Grant, SessionId, Sessions,
    StorageError, UserCode, UserId,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::embedded::Embedded;
use crate::embedded::columns::{from_json, to_json};
use crate::embedded::tables::accounts::{grants, millis};

#[async_trait]
impl Sessions for Embedded {
    async fn add_session(&self, session: &BrowserSession) -> Result<(), StorageError> {
        let session = session.clone();
        Ok(self.writer.write(move |db| put_browser(db, &session)).await?)
    }

    async fn session_of_cookie(
        &self,
        cookie: Digest,
        now: Timestamp,
    ) -> Result<Option<BrowserSession>, StorageError> {
        let read = move |db: &Connection| {
            db.prepare_cached(BROWSER)?.query_one([cookie.0], |row| from_json(row, 0)).optional()
        };
        let found: Option<BrowserSession> = self.readers.read(read).await?;
        Ok(found.filter(|session| now < session.expires_at))
    }

    async fn sessions_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<BrowserSession>, StorageError> {
        let read = move |db: &Connection| {
            let mut rows = db.prepare_cached(OF_USER)?;
            rows.query_map([user.0], |row| from_json(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut sessions: Vec<BrowserSession> = self.readers.read(read).await?;
        sessions.retain(|session| now < session.expires_at);
        sessions.sort_by_key(|session| std::cmp::Reverse(session.auth_time));
        sessions.truncate(limit);
        Ok(sessions)
    }

    async fn remove_session(&self, id: SessionId) -> Result<bool, StorageError> {
        let sql = "DELETE FROM browsers WHERE id = ?1";
        let delete = move |db: &Connection| Ok(db.prepare_cached(sql)?.execute([id.0])? == 1);
        Ok(self.writer.write(delete).await?)
    }

    async fn remove_sessions_of(&self, user: UserId) -> Result<(), StorageError> {
        let sql = "DELETE FROM browsers WHERE user = ?1";
        let delete = move |db: &Connection| db.prepare_cached(sql)?.execute([user.0]).map(drop);
        Ok(self.writer.write(delete).await?)
    }

    async fn add_device(&self, device: &Device, now: Timestamp) -> Result<bool, StorageError> {
        let device = device.clone();
        let add = move |db: &Connection| {
            let taken = get(db, &device.user_code)?.is_some_and(|other| now < other.expires_at);
            if !taken {
                put(db, &device)?;
            }
            Ok(!taken)
        };
        Ok(self.writer.write(add).await?)
    }

    async fn device(&self, code: &UserCode) -> Result<Option<Device>, StorageError> {
        let code = code.clone();
        Ok(self.readers.read(move |db| get(db, &code)).await?)
    }

    async fn decide_device(
        &self,
        code: &UserCode,
        allowed: Option<&Grant>,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (code, allowed) = (code.clone(), allowed.cloned());
        let decide = move |db: &Connection| {
            let Some(device) = get(db, &code)?.filter(|device| device.is_open(now)) else { return Ok(false) };
            let decision = match &allowed {
                Some(grant) => {
                    grants::put(db, grant)?;
                    DeviceDecision::Allowed(grant.id)
                }
                None => DeviceDecision::Denied,
            };
            put(db, &Device { decision, ..device }).map(|()| true)
        };
        Ok(self.writer.write(decide).await?)
    }

    async fn poll_device(
        &self,
        device: Digest,
        client: &ClientId,
        now: Timestamp,
    ) -> Result<DevicePoll<Box<Grant>>, StorageError> {
        let client = client.clone();
        Ok(self.writer.write(move |db| poll(db, &device, &client, now)).await?)
    }
}

const BROWSER: &str = "SELECT body FROM browsers WHERE cookie = ?1";

const OF_USER: &str = "SELECT body FROM browsers WHERE user = ?1";

const DEVICE: &str = "SELECT body FROM devices WHERE user_code = ?1";

const POLLED: &str = "SELECT body FROM devices WHERE digest = ?1";

/// The queries whose time must not grow with the store.
#[cfg(test)]
pub(crate) const HOT: [&str; 4] = [BROWSER, OF_USER, DEVICE, POLLED];

pub(crate) fn put_browser(db: &Connection, session: &BrowserSession) -> rusqlite::Result<()> {
    let sql = "INSERT INTO browsers (id, cookie, user, expires_at, body) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (id) DO UPDATE SET cookie = ?2, user = ?3, expires_at = ?4, body = ?5";
    let BrowserSession { id, cookie, user, expires_at, .. } = session;
    let values = params![id.0, cookie.0, user.0, millis(*expires_at), to_json(session)?];
    db.prepare_cached(sql)?.execute(values).map(drop)
}

fn poll(
    db: &Connection,
    digest: &Digest,
    client: &ClientId,
    now: Timestamp,
) -> rusqlite::Result<DevicePoll<Box<Grant>>> {
    let device =
        db.prepare_cached(POLLED)?.query_one([digest.0], |row| from_json::<Device>(row, 0)).optional()?;
    let Some(mut device) = device else { return Ok(DevicePoll::Unknown) };
    let polled = device.poll(client, now);
    let answer = match polled {
        DevicePoll::Pending => DevicePoll::Pending,
        DevicePoll::SlowDown => DevicePoll::SlowDown,
        DevicePoll::Expired => return Ok(DevicePoll::Expired),
        DevicePoll::Unknown => return Ok(DevicePoll::Unknown),
        DevicePoll::Denied => {
            forget(db, &device)?;
            return Ok(DevicePoll::Denied);
        }
        DevicePoll::Allowed(grant) => {
            forget(db, &device)?;
            let grant = grants::get(db, grant)?;
            return Ok(grant.map_or(DevicePoll::Unknown, |grant| DevicePoll::Allowed(Box::new(grant))));
        }
    };
    put(db, &device).map(|()| answer)
}

fn get(db: &Connection, code: &UserCode) -> rusqlite::Result<Option<Device>> {
    db.prepare_cached(DEVICE)?.query_one([code.as_str()], |row| from_json(row, 0)).optional()
}

pub(crate) fn put(db: &Connection, device: &Device) -> rusqlite::Result<()> {
    let sql = "INSERT INTO devices (user_code, digest, client, expires_at, body) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (user_code) DO UPDATE SET digest = ?2, client = ?3, expires_at = ?4, body = ?5";
    let Device { user_code, digest, client, expires_at, .. } = device;
    let values =
        params![user_code.as_str(), digest.0, client.as_str(), millis(*expires_at), to_json(device)?];
    db.prepare_cached(sql)?.execute(values).map(drop)
}

fn forget(db: &Connection, device: &Device) -> rusqlite::Result<()> {
    let sql = "DELETE FROM devices WHERE user_code = ?1";
    db.prepare_cached(sql)?.execute([device.user_code.as_str()]).map(drop)
}
