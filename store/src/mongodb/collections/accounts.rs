//! [`Accounts`] on MongoDB: users, clients, API tokens and the audit log. Grants and browsers are in files of their own.
//!
//! Every process of the platform writes accounts, not only the one that leads. So everything that changes together is in
//! one document, with all of it as JSON in `body`: it is read, the provider's own functions decide, and it is replaced if
//! it is still what was read. The records of a user or a client are removed before the user or the client, so that an
//! interrupted removal can be repeated.

mod browsers;
mod grants;
pub(crate) mod records;

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

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{at_most, bytes, date, number, uuid};
use crate::mongodb::error::{is_duplicate, timed_out, unreadable};
use crate::mongodb::request::in_time;
use crate::mongodb::schema::META;

/// How many entries of the audit log are kept, and after how many new ones the oldest are removed.
const MAX_AUDIT_ENTRIES: u64 = 100_000;
const AUDIT_TRIM_INTERVAL: u64 = 1000;

/// The document of [`META`] with the number of the newest entry.
pub(crate) const AUDIT: &str = "audit";

/// How often a change is tried because another process has changed the same document meanwhile.
const MAX_ATTEMPTS: usize = 20;

#[async_trait]
impl Accounts for MongoDb {
    async fn add_user(&self, user: &User) -> Result<bool, StorageError> {
        Ok(self.insert("users", user_document(user)?).await?)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(self.find_one("users", doc! { "_id": uuid(id.0) }).await?.map(|row| user_of(&row)).transpose()?)
    }

    async fn user_named(&self, name: &Username) -> Result<Option<User>, StorageError> {
        let found = self.find_one("users", doc! { "username": name.as_str() }).await?;
        Ok(found.map(|row| user_of(&row)).transpose()?)
    }

    async fn users(&self, after: Option<&Username>, limit: usize) -> Result<Vec<User>, StorageError> {
        let page = self.page_by("users", "username", after.map(Username::as_str), limit).await?;
        Ok(page.iter().map(|row| user_of(row)).collect::<Result<_, _>>()?)
    }

    async fn change_user(&self, user: &User) -> Result<bool, StorageError> {
        let mut set = Document::try_from(user_document(user)?).map_err(unreadable)?;
        for kept in ["_id", "password_hash", "created_at"] {
            set.remove(kept);
        }
        let changed = in_time(async {
            match self
                .collection("users")
                .update_one(doc! { "_id": uuid(user.id.0) }, doc! { "$set": set })
                .await
            {
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
        let changed = in_time(async { self.collection("users").update_one(unchanged, set).await });
        Ok(changed.await?.matched_count == 1)
    }

    async fn remove_user(&self, id: UserId) -> Result<bool, StorageError> {
        for name in ["grants", "browsers", "consents", "api_tokens"] {
            self.remove(name, doc! { "user": uuid(id.0) }).await?;
        }
        Ok(self.remove("users", doc! { "_id": uuid(id.0) }).await? == 1)
    }

    async fn put_client(&self, client: &Client) -> Result<(), StorageError> {
        Ok(self.put("clients", doc! { "_id": client.id.as_str() }, client_document(client)?).await?)
    }

    async fn client(&self, id: &ClientId) -> Result<Option<Client>, StorageError> {
        let found = self.find_one("clients", doc! { "_id": id.as_str() }).await?;
        Ok(found.map(|row| value(&row)).transpose()?)
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Client>, StorageError> {
        let page = self.page_by("clients", "_id", after.map(ClientId::as_str), limit).await?;
        Ok(page.iter().map(|row| value(row)).collect::<Result<_, _>>()?)
    }

    async fn remove_client(&self, id: &ClientId) -> Result<bool, StorageError> {
        for name in ["grants", "devices", "consents"] {
            self.remove(name, doc! { "client": id.as_str() }).await?;
        }
        Ok(self.remove("clients", doc! { "_id": id.as_str() }).await? == 1)
    }

    async fn add_api_token(&self, token: &ApiToken) -> Result<(), StorageError> {
        let row = api_token_document(token)?;
        Ok(in_time(async { self.collection("api_tokens").insert_one(row).await }).await.map(drop)?)
    }

    async fn api_token(&self, digest: Digest) -> Result<Option<ApiToken>, StorageError> {
        let found = self.find_one("api_tokens", doc! { "digest": bytes(&digest.0) }).await?;
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
        let row = audit_document(number, entry)?;
        in_time(async { self.collection("audit").insert_one(row).await }).await?;
        if number.is_multiple_of(AUDIT_TRIM_INTERVAL) {
            let oldest = at_most(number.saturating_sub(MAX_AUDIT_ENTRIES));
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
            // the server takes 0 for no limit
            return Ok(Vec::new());
        }
        let older = doc! { "_id": { "$lt": before.map_or(i64::MAX, at_most) } };
        let rows = in_time(async {
            let audit = self.collection("audit");
            let found = audit.find(older).sort(doc! { "_id": -1 }).limit(at_most(limit));
            found.await?.try_collect::<Vec<RawDocumentBuf>>().await
        });
        Ok(rows
            .await?
            .iter()
            .map(|row| Ok((number(row, "_id")?, value(row)?)))
            .collect::<Result<_, Failure>>()?)
    }
}

impl MongoDb {
    /// The number of the next entry of the audit log.
    async fn next_number(&self) -> Result<u64, Failure> {
        let counter = doc! { "_id": AUDIT };
        let moved = in_time(async {
            let meta = self.collection(META);
            let count = meta.find_one_and_update(counter, doc! { "$inc": { "number": 1_i64 } }).upsert(true);
            count.return_document(ReturnDocument::After).await
        });
        number(&moved.await?.ok_or_else(timed_out)?, "number")
    }

    async fn find_one(&self, name: &str, wanted: Document) -> Result<Option<RawDocumentBuf>, Failure> {
        in_time(async { self.collection(name).find_one(wanted).await }).await
    }

    /// The values of the documents that match, in no order.
    async fn values<T: DeserializeOwned>(&self, name: &str, wanted: Document) -> Result<Vec<T>, Failure> {
        let rows = in_time(async {
            self.collection(name).find(wanted).await?.try_collect::<Vec<RawDocumentBuf>>().await
        });
        rows.await?.iter().map(|row| value(row)).collect()
    }

    /// At most `limit` documents in the order of `field`, after `after`.
    async fn page_by(
        &self,
        name: &str,
        field: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawDocumentBuf>, Failure> {
        if limit == 0 {
            // the server takes 0 for no limit
            return Ok(Vec::new());
        }
        let wanted = doc! { field: { "$gt": after.unwrap_or_default() } };
        in_time(async {
            let rows = self.collection(name);
            let found = rows.find(wanted).sort(doc! { field: 1 }).limit(at_most(limit));
            found.await?.try_collect().await
        })
        .await
    }

    /// Inserts a document. `false`: a document with the same unique key exists.
    async fn insert(&self, name: &str, row: RawDocumentBuf) -> Result<bool, Failure> {
        in_time(async {
            match self.collection(name).insert_one(row).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn put(&self, name: &str, filter: Document, row: RawDocumentBuf) -> Result<(), Failure> {
        in_time(async { self.collection(name).replace_one(filter, row).upsert(true).await }).await.map(drop)
    }

    /// Replaces `before` by `after`, if `before` is unchanged. Whether it was.
    async fn replace_unchanged(
        &self,
        name: &str,
        before: &RawDocument,
        after: RawDocumentBuf,
    ) -> Result<bool, Failure> {
        let unchanged = unchanged(before)?;
        let swapped = in_time(async { self.collection(name).replace_one(unchanged, after).await });
        Ok(swapped.await?.matched_count == 1)
    }

    /// Deletes the documents that match, and returns how many.
    async fn remove(&self, name: &str, wanted: Document) -> Result<u64, Failure> {
        Ok(in_time(async { self.collection(name).delete_many(wanted).await }).await?.deleted_count)
    }
}

/// A filter that matches a document only as long as it is what was read.
fn unchanged(row: &RawDocument) -> Result<Document, Failure> {
    Ok(doc! { "_id": id_of(row)?, "body": row.get_str("body").map_err(unreadable)? })
}

fn id_of(row: &RawDocument) -> Result<Bson, Failure> {
    let id = row.get("_id")?.ok_or_else(|| unreadable("a document without _id"))?;
    Bson::try_from(id).map_err(unreadable)
}

/// The failure after [`MAX_ATTEMPTS`].
fn contention() -> Failure {
    Failure::Unavailable("too many requests change the same account at once: try again".to_owned())
}

/// The value of a document.
fn value<T: DeserializeOwned>(row: &RawDocument) -> Result<T, Failure> {
    serde_json::from_str(row.get_str("body").map_err(unreadable)?).map_err(unreadable)
}

fn body(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(unreadable)
}

fn hash(password: Option<&PasswordHash>) -> Bson {
    password.map_or(Bson::Null, |hash| Bson::String(hash.as_str().to_owned()))
}

/// The document of a user; `body` has everything but the password.
fn user_document(user: &User) -> Result<RawDocumentBuf, Failure> {
    let row = doc! {
        "_id": uuid(user.id.0),
        "username": user.name.as_str(),
        "password_hash": hash(user.password.as_ref()),
        "is_admin": user.groups.contains(ADMIN),
        "created_at": date(user.created_at).0,
        "updated_at": date(user.updated_at).0,
        "body": body(&User { password: None, ..user.clone() })?,
    };
    RawDocumentBuf::try_from(&row).map_err(unreadable)
}

fn user_of(row: &RawDocument) -> Result<User, Failure> {
    let password = row.get("password_hash")?.and_then(RawBsonRef::as_str).map(str::to_owned);
    Ok(User { password: password.map(PasswordHash::stored), ..value(row)? })
}

fn client_document(client: &Client) -> Result<RawDocumentBuf, Failure> {
    let created = date(client.created_at).0;
    Ok(rawdoc! { "_id": client.id.as_str(), "created_at": created, "body": body(client)? })
}

fn api_token_document(token: &ApiToken) -> Result<RawDocumentBuf, Failure> {
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

fn audit_document(number: u64, entry: &AuditEntry) -> Result<RawDocumentBuf, Failure> {
    Ok(rawdoc! { "_id": at_most(number), "at": date(entry.at).0, "body": body(entry)? })
}
