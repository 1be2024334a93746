//! Everything that the provider keeps as documents and back, to be copied from and into.

use mgx_oauth2::{ClientId, UserId};
use mongodb::bson::{RawDocument, RawDocumentBuf};

use super::super::document::{number, parse, uuid_of};
use super::super::error::Fault;
use super::grants::Kept;
use super::{api_token_row, audit_row, browsers, client_row, grants, user_of, user_row, value};
use crate::account::{Account, AccountPart};

/// The collection and the document.
pub(in crate::mongodb) fn row(account: Account) -> Result<(&'static str, RawDocumentBuf), Fault> {
    let (part, row) = match account {
        Account::User(user) => (AccountPart::Users, user_row(&user)?),
        Account::Client(client) => (AccountPart::Clients, client_row(&client)?),
        Account::ApiToken(token) => (AccountPart::ApiTokens, api_token_row(&token)?),
        Account::Consent(user, client, scope) => {
            (AccountPart::Consents, grants::consent_row(user, &client, &scope))
        }
        Account::Grant(grant, code) => (AccountPart::Grants, Kept { grant: *grant, code }.row()?),
        Account::Browser(browser) => (AccountPart::Browsers, browsers::browser_row(&browser)?),
        Account::Device(device) => (AccountPart::Devices, browsers::device_row(&device)?),
        Account::Revoked(id, until) => (AccountPart::Revoked, grants::revoked_row(id, until)),
        Account::Audit(number, entry) => (AccountPart::Audit, audit_row(number, &entry)?),
    };
    Ok((part.name(), row))
}

/// What the document of a part holds.
pub(in crate::mongodb) fn account_of(part: AccountPart, row: &RawDocument) -> Result<Account, Fault> {
    Ok(match part {
        AccountPart::Users => Account::User(user_of(row)?),
        AccountPart::Clients => Account::Client(value(row)?),
        AccountPart::ApiTokens => Account::ApiToken(value(row)?),
        AccountPart::Consents => {
            let client: ClientId = parse(row, "client")?;
            Account::Consent(UserId(uuid_of(row, "user")?), client, parse(row, "scope")?)
        }
        AccountPart::Grants => {
            let Kept { grant, code } = value(row)?;
            Account::Grant(Box::new(grant), code)
        }
        AccountPart::Browsers => Account::Browser(value(row)?),
        AccountPart::Devices => Account::Device(value(row)?),
        AccountPart::Revoked => {
            let (id, until) = grants::revoked_of(row)?;
            Account::Revoked(id, until)
        }
        AccountPart::Audit => Account::Audit(number(row, "_id")?, value(row)?),
    })
}
