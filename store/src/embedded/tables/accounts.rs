//! [`Accounts`] on SQLite: users, clients, API tokens and the audit log. Grants and browsers are in files of their own.

mod browsers;
mod grants;
pub(crate) mod records;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_oauth2::{
    Accounts, ApiToken, AuditEntry, Client, ClientId, Digest, PasswordHash, StorageError, TokenId, User,
    UserId, Username,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::embedded::Embedded;
use crate::embedded::columns::{at_most, count, from_json, to_json};

/// How many entries of the audit log are kept.
const MAX_AUDIT_ENTRIES: i64 = 100_000;

#[async_trait]
impl Accounts for Embedded {
    async fn add_user(&self, user: &User) -> Result<bool, StorageError> {
        let user = user.clone();
        Ok(self.writer.write(move |db| add_user(db, &user)).await?)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        let read = move |db: &Connection| db.prepare_cached(USER)?.query_one([id.0], user).optional();
        Ok(self.readers.read(read).await?)
    }

    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        let name = name.clone();
        let read =
            move |db: &Connection| db.prepare_cached(USER_NAMED)?.query_one([name.as_str()], user).optional();
        Ok(self.readers.read(read).await?)
    }

    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        let after = after.map_or("", Username::as_str).to_owned();
        let sql = "SELECT password, body FROM users WHERE name > ?1 ORDER BY name LIMIT ?2";
        let read = move |db: &Connection| {
            db.prepare_cached(sql)?.query_map(params![after, at_most(limit)], user)?.collect()
        };
        Ok(self.readers.read(read).await?)
    }

    async fn change_user(&self, user: &User) -> Result<bool, StorageError> {
        let user = user.clone();
        Ok(self.writer.write(move |db| change_user(db, &user)).await?)
    }

    async fn set_password(
        &self,
        id: UserId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<bool, StorageError> {
        let (from, to) = (from.cloned(), to.clone());
        let sql = "UPDATE users SET password = ?3 WHERE id = ?1 AND password IS ?2";
        let set = move |db: &Connection| {
            let values = params![id.0, from.as_ref().map(PasswordHash::as_str), to.as_str()];
            Ok(db.prepare_cached(sql)?.execute(values)? == 1)
        };
        Ok(self.writer.write(set).await?)
    }

    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError> {
        let remove = move |db: &Connection| {
            for table in ["grants", "browsers", "consents", "api_tokens"] {
                db.prepare_cached(&format!("DELETE FROM {table} WHERE user = ?1"))?.execute([id.0])?;
            }
            Ok(db.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id.0])? == 1)
        };
        Ok(self.writer.write(remove).await?)
    }

    async fn put_client(&self, client: &Client) -> Result<(), StorageError> {
        let client = client.clone();
        Ok(self.writer.write(move |db| put_client(db, &client)).await?)
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        let id = id.clone();
        let read = move |db: &Connection| {
            db.prepare_cached(CLIENT)?.query_one([id.as_str()], |row| from_json(row, 0)).optional()
        };
        Ok(self.readers.read(read).await?)
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        let after = after.map_or("", ClientId::as_str).to_owned();
        let sql = "SELECT body FROM clients WHERE id > ?1 ORDER BY id LIMIT ?2";
        let read = move |db: &Connection| {
            let mut rows = db.prepare_cached(sql)?;
            rows.query_map(params![after, at_most(limit)], |row| from_json(row, 0))?.collect()
        };
        Ok(self.readers.read(read).await?)
    }

    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError> {
        let id = id.clone();
        let remove = move |db: &Connection| {
            for table in ["grants", "devices", "consents"] {
                db.prepare_cached(&format!("DELETE FROM {table} WHERE client = ?1"))?
                    .execute([id.as_str()])?;
            }
            Ok(db.prepare_cached("DELETE FROM clients WHERE id = ?1")?.execute([id.as_str()])? == 1)
        };
        Ok(self.writer.write(remove).await?)
    }

    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError> {
        let token = token.clone();
        Ok(self.writer.write(move |db| add_api_token(db, &token)).await?)
    }

    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError> {
        let read = move |db: &Connection| {
            db.prepare_cached(API_TOKEN)?.query_one([digest.0], |row| from_json(row, 0)).optional()
        };
        Ok(self.readers.read(read).await?)
    }

    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError> {
        let sql = "SELECT body FROM api_tokens WHERE user = ?1";
        let read = move |db: &Connection| {
            let mut rows = db.prepare_cached(sql)?;
            rows.query_map([user.0], |row| from_json(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut tokens: Vec<ApiToken> = self.readers.read(read).await?;
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        Ok(tokens)
    }

    async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError> {
        let sql = "DELETE FROM api_tokens WHERE id = ?1 AND user = ?2";
        let delete = move |db: &Connection| Ok(db.prepare_cached(sql)?.execute([id.0, user.0])? == 1);
        Ok(self.writer.write(delete).await?)
    }

    async fn add_audit_entry(&self, entry: &AuditEntry) -> Result<(), StorageError> {
        let entry = entry.clone();
        let write = move |db: &Connection| {
            db.prepare_cached("INSERT INTO audit (body) VALUES (?1)")?.execute([to_json(&entry)?])?;
            let oldest = db.last_insert_rowid() - MAX_AUDIT_ENTRIES;
            db.prepare_cached("DELETE FROM audit WHERE number <= ?1")?.execute([oldest]).map(drop)
        };
        Ok(self.writer.write(write).await?)
    }

    async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError> {
        let (before, limit) = (before.map_or(i64::MAX, at_most), at_most(limit));
        let sql = "SELECT number, body FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
        let read = move |db: &Connection| {
            let entry = |row: &Row<'_>| Ok((count(row, 0)?, from_json(row, 1)?));
            db.prepare_cached(sql)?.query_map([before, limit], entry)?.collect()
        };
        Ok(self.readers.read(read).await?)
    }
}

const USER: &str = "SELECT password, body FROM users WHERE id = ?1";

const USER_NAMED: &str = "SELECT password, body FROM users WHERE name = ?1";

const CLIENT: &str = "SELECT body FROM clients WHERE id = ?1";

const API_TOKEN: &str = "SELECT body FROM api_tokens WHERE digest = ?1";

/// The queries whose time must not grow with the store.
#[cfg(test)]
pub(crate) fn hot() -> Vec<&'static str> {
    [&[USER, USER_NAMED, CLIENT, API_TOKEN][..], &grants::HOT, &browsers::HOT].concat()
}

/// Adds a user. `false`: the id or the name is taken.
fn add_user(db: &Connection, user: &User) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO users (id, name, password, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let password = user.password.as_ref().map(PasswordHash::as_str);
    let values = params![user.id.0, user.name.as_str(), password, body(user)?];
    Ok(db.prepare_cached(sql)?.execute(values)? == 1)
}

fn put_client(db: &Connection, client: &Client) -> rusqlite::Result<()> {
    let sql = "INSERT INTO clients (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = ?2";
    db.prepare_cached(sql)?.execute(params![client.id.as_str(), to_json(client)?]).map(drop)
}

fn add_api_token(db: &Connection, token: &ApiToken) -> rusqlite::Result<()> {
    let sql = "INSERT INTO api_tokens (id, digest, user, body) VALUES (?1, ?2, ?3, ?4)";
    let values = params![token.id.0, token.digest.0, token.user.0, to_json(token)?];
    db.prepare_cached(sql)?.execute(values).map(drop)
}

/// Changes a user. The name is checked first, because a conflict would undo the other changes of the transaction as well.
fn change_user(db: &Connection, user: &User) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM users WHERE name = ?1 AND id <> ?2";
    let taken: i64 =
        db.prepare_cached(sql)?.query_one(params![user.name.as_str(), user.id.0], |row| row.get(0))?;
    if taken > 0 {
        return Ok(false);
    }
    let sql = "UPDATE users SET name = ?2, body = ?3 WHERE id = ?1";
    Ok(db.prepare_cached(sql)?.execute(params![user.id.0, user.name.as_str(), body(user)?])? == 1)
}

/// A user as JSON, without the password, which has a column of its own.
fn body(user: &User) -> rusqlite::Result<String> {
    to_json(&User { password: None, ..user.clone() })
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let password: Option<String> = row.get(0)?;
    Ok(User { password: password.map(PasswordHash::stored), ..from_json(row, 1)? })
}

/// A time as it is stored: in whole milliseconds, rounded down.
fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}
