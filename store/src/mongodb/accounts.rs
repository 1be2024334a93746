//! What the OAuth 2 provider must not forget, on MongoDB: users, clients and the audit log; grants and browsers beside.
//!
//! Every process of the platform writes here, whichever of them schedules. So what has to happen together is in one
//! document, whose `body` holds all of it as JSON: it is read, decided upon by the provider's own functions, and put
//! back if it still is what was read. What goes with a user or a client goes before them, so that whoever was interrupted
//! can do it again.

mod browsers;
mod grants;
pub(super) mod kept;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use mgx_oauth2::{
    ADMIN, Accounts, ApiToken, AuditEntry, Client, ClientId, Digest, PasswordHash, StorageError, TokenId,
    User, UserId, Username,
};
use mongodb::bson::raw::cstr;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc, rawdoc};
use mongodb::options::ReturnDocument;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::document::{at_most, bytes, date, number, uuid};
use super::error::{Fault, is_duplicate};
use super::schema::META;
use super::{MongoDb, in_time};

/// How many entries of the audit log are kept, and how many more there may be for a while.
const AUDITED: u64 = 100_000;
const TIDIED: u64 = 1000;

/// The document of [`META`] that counts them.
pub(super) const AUDIT: &str = "audit";

/// How often something is decided anew because another process has changed it meanwhile.
const TRIES: usize = 20;

#[async_trait]
impl Accounts for MongoDb {
    async fn add_user(&self, user: &User) -> Result<bool, StorageError> {
        Ok(self.insert("users", user_row(user)?).await?)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.one("users", doc! { "_id": uuid(id.0) }).await?.map(|row| user_of(&row)).transpose()?)
    }

    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        let found = self.one("users", doc! { "username": name.as_str() }).await?;
        Ok(found.map(|row| user_of(&row)).transpose()?)
    }

    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        let page = self.named("users", "username", after.map(Username::as_str), limit).await?;
        Ok(page.iter().map(|row| user_of(row)).collect::<Result<_, _>>()?)
    }

    async fn change_user(&self, user: &User) -> Result<bool, StorageError> {
        let mut set = Document::try_from(user_row(user)?).map_err(Fault::unreadable)?;
        for kept in ["_id", "password_hash", "created_at"] {
            set.remove(kept);
        }
        let changed = in_time(async {
            match self.rows("users").update_one(doc! { "_id": uuid(user.id.0) }, doc! { "$set": set }).await {
                Ok(changed) => Ok(changed.matched_count == 1),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        });
        Ok(changed.await?)
    }

    async fn set_password(
        &self,
        id: UserId,
        from: Option<&PasswordHash>,
        to: &PasswordHash,
    ) -> Result<bool, StorageError> {
        let unchanged = doc! { "_id": uuid(id.0), "password_hash": hash(from) };
        let set = doc! { "$set": { "password_hash": to.as_str() } };
        let changed = in_time(async { self.rows("users").update_one(unchanged, set).await });
        Ok(changed.await?.matched_count == 1)
    }

    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError> {
        for name in ["grants", "browsers", "consents", "api_tokens"] {
            self.remove(name, doc! { "user": uuid(id.0) }).await?;
        }
        Ok(self.remove("users", doc! { "_id": uuid(id.0) }).await? == 1)
    }

    async fn put_client(&self, client: &Client) -> Result<(), StorageError> {
        Ok(self.put("clients", doc! { "_id": client.id.as_str() }, client_row(client)?).await?)
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        let found = self.one("clients", doc! { "_id": id.as_str() }).await?;
        Ok(found.map(|row| value(&row)).transpose()?)
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        let page = self.named("clients", "_id", after.map(ClientId::as_str), limit).await?;
        Ok(page.iter().map(|row| value(row)).collect::<Result<_, _>>()?)
    }

    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError> {
        for name in ["grants", "devices", "consents"] {
            self.remove(name, doc! { "client": id.as_str() }).await?;
        }
        Ok(self.remove("clients", doc! { "_id": id.as_str() }).await? == 1)
    }

    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError> {
        let row = api_token_row(token)?;
        Ok(in_time(async { self.rows("api_tokens").insert_one(row).await }).await.map(drop)?)
    }

    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError> {
        let found = self.one("api_tokens", doc! { "digest": bytes(&digest.0) }).await?;
        Ok(found.map(|row| value(&row)).transpose()?)
    }

    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<ApiToken>, StorageError> {
        let mut tokens: Vec<ApiToken> = self.values("api_tokens", doc! { "user": uuid(user.0) }).await?;
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        Ok(tokens)
    }

    async fn remove_api_token(&self, user: UserId, id: TokenId) -> Result<bool, StorageError> {
        Ok(self.remove("api_tokens", doc! { "_id": uuid(id.0), "user": uuid(user.0) }).await? == 1)
    }

    async fn add_audit_entry(&self, entry: &AuditEntry) -> Result<(), StorageError> {
        let number = self.next_number().await?;
        let row = audit_row(number, entry)?;
        in_time(async { self.rows("audit").insert_one(row).await }).await?;
        if number.is_multiple_of(TIDIED) {
            let oldest = at_most(number.saturating_sub(AUDITED));
            self.remove("audit", doc! { "_id": { "$lte": oldest } }).await?;
        }
        Ok(())
    }

    async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AuditEntry)>, StorageError> {
        if limit == 0 {
            // to the server that would be no limit
            return Ok(Vec::new());
        }
        let older = doc! { "_id": { "$lt": before.map_or(i64::MAX, at_most) } };
        let rows = in_time(async {
            let audit = self.rows("audit");
            let found = audit.find(older).sort(doc! { "_id": -1 }).limit(at_most(limit));
            found.await?.try_collect::<Vec<RawDocumentBuf>>().await
        });
        Ok(rows
            .await?
            .iter()
            .map(|row| Ok((number(row, "_id")?, value(row)?)))
            .collect::<Result<_, Fault>>()?)
    }
}

impl MongoDb {
    /// The number of the next entry of the audit log.
    async fn next_number(&self) -> Result<u64, Fault> {
        let counter = doc! { "_id": AUDIT };
        let moved = in_time(async {
            let meta = self.rows(META);
            let count = meta.find_one_and_update(counter, doc! { "$inc": { "number": 1_i64 } }).upsert(true);
            count.return_document(ReturnDocument::After).await
        });
        number(&moved.await?.ok_or_else(Fault::late)?, "number")
    }

    async fn one(&self, name: &str, wanted: Document) -> Result<Option<RawDocumentBuf>, Fault> {
        in_time(async { self.rows(name).find_one(wanted).await }).await
    }

    /// What the documents of a filter hold, in no order.
    async fn values<T: DeserializeOwned>(&self, name: &str, wanted: Document) -> Result<Vec<T>, Fault> {
        let rows =
            in_time(async { self.rows(name).find(wanted).await?.try_collect::<Vec<RawDocumentBuf>>().await });
        rows.await?.iter().map(|row| value(row)).collect()
    }

    /// At most `limit` documents in the order of `field`, from after `after`.
    async fn named(
        &self,
        name: &str,
        field: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawDocumentBuf>, Fault> {
        if limit == 0 {
            // to the server that would be no limit
            return Ok(Vec::new());
        }
        let wanted = doc! { field: { "$gt": after.unwrap_or_default() } };
        in_time(async {
            let rows = self.rows(name);
            let found = rows.find(wanted).sort(doc! { field: 1 }).limit(at_most(limit));
            found.await?.try_collect().await
        })
        .await
    }

    /// Whether there was nothing in its way.
    async fn insert(&self, name: &str, row: RawDocumentBuf) -> Result<bool, Fault> {
        in_time(async {
            match self.rows(name).insert_one(row).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn put(&self, name: &str, place: Document, row: RawDocumentBuf) -> Result<(), Fault> {
        in_time(async { self.rows(name).replace_one(place, row).upsert(true).await }).await.map(drop)
    }

    /// Puts `after` in the place of `before`, if that is still there as it was. Whether it was.
    async fn swap(&self, name: &str, before: &RawDocument, after: RawDocumentBuf) -> Result<bool, Fault> {
        let unchanged = unchanged(before)?;
        let swapped = in_time(async { self.rows(name).replace_one(unchanged, after).await });
        Ok(swapped.await?.matched_count == 1)
    }

    /// How many there were.
    async fn remove(&self, name: &str, wanted: Document) -> Result<u64, Fault> {
        Ok(in_time(async { self.rows(name).delete_many(wanted).await }).await?.deleted_count)
    }
}

/// What finds a document only as long as it is what was read.
fn unchanged(row: &RawDocument) -> Result<Document, Fault> {
    Ok(doc! { "_id": id_of(row)?, "body": row.get_str("body").map_err(Fault::unreadable)? })
}

fn id_of(row: &RawDocument) -> Result<Bson, Fault> {
    let id = row.get("_id")?.ok_or_else(|| Fault::unreadable("a document without _id"))?;
    Bson::try_from(id).map_err(Fault::unreadable)
}

/// Too many have changed the same thing at the same time.
fn crowded() -> Fault {
    Fault::Unavailable("too many change the same account at once: ask again".to_owned())
}

/// What a document holds.
fn value<T: DeserializeOwned>(row: &RawDocument) -> Result<T, Fault> {
    serde_json::from_str(row.get_str("body").map_err(Fault::unreadable)?).map_err(Fault::unreadable)
}

fn body(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(Fault::unreadable)
}

fn hash(password: Option<&PasswordHash>) -> Bson {
    password.map_or(Bson::Null, |hash| Bson::String(hash.as_str().to_owned()))
}

/// A user, in the fields of the seeds; `body` has all but the password.
fn user_row(user: &User) -> Result<RawDocumentBuf, Fault> {
    let row = doc! {
        "_id": uuid(user.id.0),
        "username": user.name.as_str(),
        "password_hash": hash(user.password.as_ref()),
        "is_admin": user.groups.contains(ADMIN),
        "created_at": date(user.created_at).0,
        "updated_at": date(user.updated_at).0,
        "body": body(&User { password: None, ..user.clone() })?,
    };
    RawDocumentBuf::try_from(&row).map_err(Fault::unreadable)
}

fn user_of(row: &RawDocument) -> Result<User, Fault> {
    let password = row.get("password_hash")?.and_then(RawBsonRef::as_str).map(str::to_owned);
    Ok(User { password: password.map(PasswordHash::stored), ..value(row)? })
}

fn client_row(client: &Client) -> Result<RawDocumentBuf, Fault> {
    let created = date(client.created_at).0;
    Ok(rawdoc! { "_id": client.id.as_str(), "created_at": created, "body": body(client)? })
}

fn api_token_row(token: &ApiToken) -> Result<RawDocumentBuf, Fault> {
    let mut row = rawdoc! {
        "_id": uuid(token.id.0),
        "digest": bytes(&token.digest.0),
        "user": uuid(token.user.0),
        "created_at": date(token.created_at).0,
        "body": body(token)?,
    };
    if let Some(end) = token.expires_at {
        row.append(cstr!("expires_at"), date(end).0);
    }
    Ok(row)
}

fn audit_row(number: u64, entry: &AuditEntry) -> Result<RawDocumentBuf, Fault> {
    Ok(rawdoc! { "_id": at_most(number), "at": date(entry.at).0, "body": body(entry)? })
}

impl From<Fault> for StorageError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
