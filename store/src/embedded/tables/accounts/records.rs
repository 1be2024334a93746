//! Accounts as rows and back, for copying a store.

use mgx_oauth2::UserId;
use rusqlite::{Connection, Row, params};

use crate::embedded::columns::{count, from_json, number, parse, to_json};
use crate::embedded::tables::accounts::{add_api_token, add_user, browsers, grants, put_client, user};
use crate::migrate::account::{Account, AccountPart};

/// The query for a part, and the function that reads a row of it.
pub(crate) fn query(part: AccountPart) -> (&'static str, fn(&Row<'_>) -> rusqlite::Result<Account>) {
    match part {
        AccountPart::Users => ("SELECT password, body FROM users", |row| Ok(Account::User(user(row)?))),
        AccountPart::Clients => ("SELECT body FROM clients", |row| Ok(Account::Client(from_json(row, 0)?))),
        AccountPart::ApiTokens => {
            ("SELECT body FROM api_tokens", |row| Ok(Account::ApiToken(from_json(row, 0)?)))
        }
        AccountPart::Consents => ("SELECT user, client, scope FROM consents", |row| {
            Ok(Account::Consent(UserId(row.get(0)?), parse(row, 1)?, parse(row, 2)?))
        }),
        AccountPart::Grants => (
            "SELECT grants.body, codes.body FROM grants LEFT JOIN codes ON codes.grant_id = grants.id",
            |row| {
                let has_code = row.get::<_, Option<String>>(1)?.is_some();
                let code = if has_code { Some(from_json(row, 1)?) } else { None };
                Ok(Account::Grant(Box::new(from_json(row, 0)?), code))
            },
        ),
        AccountPart::Browsers => {
            ("SELECT body FROM browsers", |row| Ok(Account::Browser(from_json(row, 0)?)))
        }
        AccountPart::Devices => ("SELECT body FROM devices", |row| Ok(Account::Device(from_json(row, 0)?))),
        AccountPart::Revoked => ("SELECT id, until FROM revoked_tokens", |row| {
            Ok(Account::Revoked(row.get(0)?, grants::moment(row, 1)?))
        }),
        AccountPart::Audit => {
            ("SELECT number, body FROM audit", |row| Ok(Account::Audit(count(row, 0)?, from_json(row, 1)?)))
        }
    }
}

/// Adds a record to a store that does not have it.
pub(crate) fn insert(db: &Connection, account: &Account) -> rusqlite::Result<()> {
    match account {
        Account::User(user) => add_user(db, user).map(drop),
        Account::Client(client) => put_client(db, client),
        Account::ApiToken(token) => add_api_token(db, token),
        Account::Consent(user, client, scope) => grants::put_consent(db, *user, client, scope),
        Account::Grant(grant, code) => {
            grants::put(db, grant)?;
            code.as_ref().map_or(Ok(()), |code| grants::put_code(db, code))
        }
        Account::Browser(browser) => browsers::put_browser(db, browser),
        Account::Device(device) => browsers::put(db, device),
        Account::Revoked(id, until) => grants::put_revoked(db, *id, *until),
        Account::Audit(at, entry) => {
            let row = params![number(*at)?, to_json(entry)?];
            db.prepare_cached("INSERT INTO audit (number, body) VALUES (?1, ?2)")?.execute(row).map(drop)
        }
    }
}
