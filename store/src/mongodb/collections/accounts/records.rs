//! Accounts as documents and back, for copying a store.

use mgx_oauth2::{ClientId, UserId};
use mongodb::bson::{RawDocument, RawDocumentBuf};

use crate::error::Failure;
use crate::migrate::account::{Account, AccountPart};
use crate::mongodb::bson_values::{number, parse, uuid_of};
use crate::mongodb::collections::accounts::grants::GrantDocument;
use crate::mongodb::collections::accounts::{
    api_token_document, audit_document, browsers, client_document, grants, user_document, user_of, value,
};

/// The name of the collection and the document of a record.
pub(crate) fn document(account: Account) -> Result<(&'static str, RawDocumentBuf), Failure> {
    let (part, document) = match account {
        Account::User(user) => (AccountPart::Users, user_document(&user)?),
        Account::Client(client) => (AccountPart::Clients, client_document(&client)?),
        Account::ApiToken(token) => (AccountPart::ApiTokens, api_token_document(&token)?),
        Account::Consent(user, client, scope) => {
            (AccountPart::Consents, grants::consent_document(user, &client, &scope))
        }
        Account::Grant(grant, code) => {
            (AccountPart::Grants, GrantDocument { grant: *grant, code }.document()?)
        }
        Account::Browser(browser) => (AccountPart::Browsers, browsers::browser_document(&browser)?),
        Account::Device(device) => (AccountPart::Devices, browsers::device_document(&device)?),
        Account::Revoked(id, until) => (AccountPart::Revoked, grants::revoked_document(id, until)),
        Account::Audit(number, entry) => (AccountPart::Audit, audit_document(number, &entry)?),
    };
    Ok((part.name(), document))
}

/// The record in a document of a part.
pub(crate) fn account_of(part: AccountPart, row: &RawDocument) -> Result<Account, Failure> {
    Ok(match part {
        AccountPart::Users => Account::User(user_of(row)?),
        AccountPart::Clients => Account::Client(value(row)?),
        AccountPart::ApiTokens => Account::ApiToken(value(row)?),
        AccountPart::Consents => {
            let client: ClientId = parse(row, "client")?;
            Account::Consent(UserId(uuid_of(row, "user")?), client, parse(row, "scope")?)
        }
        AccountPart::Grants => {
            let GrantDocument { grant, code } = value(row)?;
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
