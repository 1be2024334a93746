//! [`Grants`] on SQLite, with authorization codes and refresh tokens. The provider's own functions decide about a code or
//! a token, inside the transaction that writes the result.

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_oauth2::{
    AuthorizationCode, ClientId, CodeRedemption, Digest, Grant, GrantFilter, GrantId, Grants, RefreshOutcome,
    Scope, StorageError, StoredRefreshToken, UserId,
};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use uuid::Uuid;

use crate::embedded::Embedded;
use crate::embedded::columns::{at_most, from_json, parse, to_json};
use crate::embedded::tables::accounts::millis;

#[async_trait]
impl Grants for Embedded {
    async fn add_grant(&self, grant: &Grant, code: Option<&AuthorizationCode>) -> Result<(), StorageError> {
        let (grant, code) = (grant.clone(), code.cloned());
        let open = move |db: &Connection| {
            put(db, &grant)?;
            code.as_ref().map_or(Ok(()), |code| put_code(db, code))
        };
        Ok(self.writer.write(open).await?)
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StorageError> {
        Ok(self.readers.read(move |db| get(db, id)).await?)
    }

    async fn grant_of_refresh_token(&self, family: Digest) -> Result<Option<Grant>, StorageError> {
        Ok(self.readers.read(move |db| of_family(db, &family)).await?)
    }

    async fn grants_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Grant>, StorageError> {
        let read = move |db: &Connection| {
            let mut grants = matching(db, OF_USER, &[&user.0])?;
            grants.retain(|grant| grant.is_live(now));
            grants.sort_by_key(|grant| std::cmp::Reverse(grant.created_at));
            grants.truncate(limit);
            Ok(grants)
        };
        Ok(self.readers.read(read).await?)
    }

    async fn redeem_code(&self, code: Digest, now: Timestamp) -> Result<CodeRedemption, StorageError> {
        Ok(self.writer.write(move |db| show_code(db, &code, now)).await?)
    }

    async fn extend_grant(
        &self,
        id: GrantId,
        expires_at: Timestamp,
        refresh: Option<StoredRefreshToken>,
    ) -> Result<bool, StorageError> {
        let go_on = move |db: &Connection| match get(db, id)?.filter(|grant| grant.revoked_at.is_none()) {
            Some(grant) => put(db, &Grant { expires_at, refresh, ..grant }).map(|()| true),
            None => Ok(false),
        };
        Ok(self.writer.write(go_on).await?)
    }

    async fn rotate_refresh_token(
        &self,
        family: Digest,
        turn: Digest,
        client: &ClientId,
        next: StoredRefreshToken,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StorageError> {
        let client = client.clone();
        let show = move |db: &Connection| {
            let Some(mut grant) = of_family(db, &family)? else { return Ok(RefreshOutcome::Unknown) };
            let shown = grant.rotate(&turn, &client, next, now);
            match &shown {
                RefreshOutcome::Rotated(grant) | RefreshOutcome::Reused(grant) => put(db, grant)?,
                RefreshOutcome::Unknown => {}
            }
            Ok(shown)
        };
        Ok(self.writer.write(show).await?)
    }

    async fn revoke_grants(
        &self,
        filter: &GrantFilter,
        now: Timestamp,
    ) -> Result<Vec<GrantId>, StorageError> {
        let filter = filter.clone();
        let revoke = move |db: &Connection| {
            let mut revoked = Vec::new();
            for mut grant in meant(db, &filter)?.into_iter().filter(|grant| grant.is_live(now)) {
                grant.revoke(now);
                put(db, &grant)?;
                revoked.push(grant.id);
            }
            Ok(revoked)
        };
        Ok(self.writer.write(revoke).await?)
    }

    async fn revoke_tokens(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StorageError> {
        let ids = ids.to_vec();
        let write = move |db: &Connection| ids.iter().try_for_each(|id| put_revoked(db, *id, until));
        Ok(self.writer.write(write).await?)
    }

    async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<(Uuid, Timestamp)>, StorageError> {
        let sql = "SELECT id, until FROM revoked_tokens WHERE until > ?1";
        let read = move |db: &Connection| {
            db.prepare_cached(sql)?
                .query_map([millis(now)], |row| Ok((row.get(0)?, moment(row, 1)?)))?
                .collect()
        };
        Ok(self.readers.read(read).await?)
    }

    async fn consent(&self, user: UserId, client: &ClientId) -> Result<Option<Scope>, StorageError> {
        let client = client.clone();
        let sql = "SELECT scope FROM consents WHERE user = ?1 AND client = ?2";
        let read = move |db: &Connection| {
            db.prepare_cached(sql)?
                .query_one(params![user.0, client.as_str()], |row| parse(row, 0))
                .optional()
        };
        Ok(self.readers.read(read).await?)
    }

    async fn set_consent(&self, user: UserId, client: &ClientId, scope: &Scope) -> Result<(), StorageError> {
        let (client, scope) = (client.clone(), scope.clone());
        Ok(self.writer.write(move |db| put_consent(db, user, &client, &scope)).await?)
    }

    async fn delete_expired(&self, now: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let bounds = [millis(now), at_most(limit)];
        let sweep = move |db: &Connection| {
            SWEEP.iter().try_fold(0, |swept, sql| Ok(swept + db.prepare_cached(sql)?.execute(bounds)?))
        };
        Ok(self.writer.write(sweep).await?)
    }
}

const ONE: &str = "SELECT body FROM grants WHERE id = ?1";

const OF_FAMILY: &str = "SELECT body FROM grants WHERE family = ?1";

const OF_USER: &str = "SELECT body FROM grants WHERE user = ?1 AND revoked = 0";

const OF_CLIENT: &str = "SELECT body FROM grants WHERE client = ?1 AND revoked = 0";

const OF_BROWSER: &str = "SELECT body FROM grants WHERE browser = ?1 AND revoked = 0";

const CODE: &str = "SELECT body FROM codes WHERE digest = ?1";

const PUT: &str = "INSERT INTO grants (id, user, client, browser, family, expires_at, revoked, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (id) DO UPDATE SET family = ?5, expires_at = ?6, revoked = ?7, body = ?8";

/// Delete what has expired, a limited number of each at a time.
const SWEEP: [&str; 4] = [
    "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at < ?1 LIMIT ?2)",
    "DELETE FROM browsers WHERE id IN (SELECT id FROM browsers WHERE expires_at < ?1 LIMIT ?2)",
    "DELETE FROM devices WHERE user_code IN (SELECT user_code FROM devices WHERE expires_at < ?1 LIMIT ?2)",
    "DELETE FROM revoked_tokens WHERE id IN (SELECT id FROM revoked_tokens WHERE until < ?1 LIMIT ?2)",
];

/// The queries filter time must not grow with the store.
#[cfg(test)]
pub(crate) const HOT: [&str; 10] =
    [ONE, OF_FAMILY, OF_USER, OF_CLIENT, OF_BROWSER, CODE, SWEEP[0], SWEEP[1], SWEEP[2], SWEEP[3]];

pub(crate) fn put(db: &Connection, grant: &Grant) -> rusqlite::Result<()> {
    let values = params![
        grant.id.0,
        grant.user.0,
        grant.client.as_str(),
        grant.session.map(|session| session.0),
        grant.refresh.map(|refresh| refresh.family.0),
        millis(grant.expires_at),
        grant.revoked_at.is_some(),
        to_json(grant)?,
    ];
    db.prepare_cached(PUT)?.execute(values).map(drop)
}

pub(crate) fn put_code(db: &Connection, code: &AuthorizationCode) -> rusqlite::Result<()> {
    let sql = "INSERT INTO codes (digest, grant_id, body) VALUES (?1, ?2, ?3)
        ON CONFLICT (digest) DO UPDATE SET body = ?3";
    db.prepare_cached(sql)?.execute(params![code.digest.0, code.grant.0, to_json(code)?]).map(drop)
}

pub(crate) fn put_revoked(db: &Connection, id: Uuid, until: Timestamp) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO revoked_tokens (id, until) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET until = ?2";
    db.prepare_cached(sql)?.execute(params![id, millis(until)]).map(drop)
}

pub(crate) fn put_consent(
    db: &Connection,
    user: UserId,
    client: &ClientId,
    scope: &Scope,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO consents (user, client, scope) VALUES (?1, ?2, ?3)
        ON CONFLICT (user, client) DO UPDATE SET scope = ?3";
    db.prepare_cached(sql)?.execute(params![user.0, client.as_str(), scope.to_string()]).map(drop)
}

fn show_code(db: &Connection, digest: &Digest, now: Timestamp) -> rusqlite::Result<CodeRedemption> {
    let code = db
        .prepare_cached(CODE)?
        .query_one([digest.0], |row| from_json::<AuthorizationCode>(row, 0))
        .optional()?;
    let Some(mut code) = code else { return Ok(CodeRedemption::Unknown) };
    let Some(mut grant) = get(db, code.grant)? else { return Ok(CodeRedemption::Unknown) };
    let shown = code.redeem(&mut grant, now);
    match &shown {
        CodeRedemption::First(code, _) => put_code(db, code)?,
        CodeRedemption::Replayed(grant) => put(db, grant)?,
        CodeRedemption::Unknown => {}
    }
    Ok(shown)
}

pub(crate) fn get(db: &Connection, id: GrantId) -> rusqlite::Result<Option<Grant>> {
    db.prepare_cached(ONE)?.query_one([id.0], |row| from_json(row, 0)).optional()
}

fn of_family(db: &Connection, family: &Digest) -> rusqlite::Result<Option<Grant>> {
    db.prepare_cached(OF_FAMILY)?.query_one([family.0], |row| from_json(row, 0)).optional()
}

fn meant(db: &Connection, filter: &GrantFilter) -> rusqlite::Result<Vec<Grant>> {
    match filter {
        GrantFilter::Grant(id) => Ok(get(db, *id)?.into_iter().collect()),
        GrantFilter::Session(browser) => matching(db, OF_BROWSER, &[&browser.0]),
        GrantFilter::User(user) => matching(db, OF_USER, &[&user.0]),
        GrantFilter::Client(client) => matching(db, OF_CLIENT, &[&client.as_str()]),
        GrantFilter::UserAndClient(user, _) => {
            let grants = matching(db, OF_USER, &[&user.0])?;
            Ok(grants.into_iter().filter(|grant| grant.matches(filter)).collect())
        }
    }
}

fn matching(db: &Connection, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<Grant>> {
    db.prepare_cached(sql)?.query_map(values, |row| from_json(row, 0))?.collect()
}

pub(crate) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let wrong = |error: jiff::Error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(error))
    };
    Timestamp::from_millisecond(row.get(column)?).map_err(wrong)
}
