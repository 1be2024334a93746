//! [`Grants`] on MongoDB, with authorization codes and refresh tokens. A grant and its code are one document: so a code
//! counts once, and is deleted with its grant.

use async_trait::async_trait;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mgx_oauth2::{
    AuthorizationCode, ClientId, CodeRedemption, Digest, Grant, GrantFilter, GrantId, Grants, RefreshOutcome,
    Scope, StorageError, StoredRefreshToken, UserId,
};
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc, rawdoc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Failure;
use crate::mongodb::MongoDb;
use crate::mongodb::bson_values::{at_most, bytes, date, parse, timestamp, uuid, uuid_of};
use crate::mongodb::collections::accounts::{MAX_ATTEMPTS, body, contention, id_of, value};
use crate::mongodb::error::unreadable;
use crate::mongodb::request::in_time;

/// The value of a document of `grants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GrantDocument {
    pub(crate) grant: Grant,
    pub(crate) code: Option<AuthorizationCode>,
}

#[async_trait]
impl Grants for MongoDb {
    async fn add_grant(&self, grant: &Grant, code: Option<&AuthorizationCode>) -> Result<(), StorageError> {
        let row = GrantDocument { grant: grant.clone(), code: code.cloned() }.document()?;
        Ok(self.put("grants", doc! { "_id": uuid(grant.id.0) }, row).await?)
    }

    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StorageError> {
        Ok(self.find_grant(doc! { "_id": uuid(id.0) }).await?)
    }

    async fn grant_of_refresh_token(&self, family: Digest) -> Result<Option<Grant>, StorageError> {
        Ok(self.find_grant(doc! { "family": bytes(&family.0) }).await?)
    }

    async fn grants_of(
        &self,
        user: UserId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Grant>, StorageError> {
        let mut grants = self.find_grants(doc! { "user": uuid(user.0), "revoked": false }).await?;
        grants.retain(|grant| grant.is_live(now));
        grants.sort_by_key(|grant| std::cmp::Reverse(grant.created_at));
        grants.truncate(limit);
        Ok(grants)
    }

    async fn redeem_code(&self, code: Digest, now: Timestamp) -> Result<CodeRedemption, StorageError> {
        let shown = self.change_grant(doc! { "code": bytes(&code.0) }, |GrantDocument { grant, code }| {
            let shown = code.as_mut().map_or(CodeRedemption::Unknown, |code| code.redeem(grant, now));
            let changed = match shown {
                CodeRedemption::First(..) | CodeRedemption::Replayed(_) => true,
                CodeRedemption::Unknown => false,
            };
            (shown, changed)
        });
        Ok(shown.await?.unwrap_or(CodeRedemption::Unknown))
    }

    async fn extend_grant(
        &self,
        id: GrantId,
        expires_at: Timestamp,
        refresh: Option<StoredRefreshToken>,
    ) -> Result<bool, StorageError> {
        let goes_on = self.change_grant(doc! { "_id": uuid(id.0) }, |GrantDocument { grant, .. }| {
            let counts = grant.revoked_at.is_none();
            (grant.expires_at, grant.refresh) = (expires_at, refresh);
            (counts, counts)
        });
        Ok(goes_on.await?.unwrap_or(false))
    }

    async fn rotate_refresh_token(
        &self,
        family: Digest,
        turn: Digest,
        client: &ClientId,
        next: StoredRefreshToken,
        now: Timestamp,
    ) -> Result<RefreshOutcome, StorageError> {
        let shown =
            self.change_grant(doc! { "family": bytes(&family.0) }, |GrantDocument { grant, .. }| {
                let shown = grant.rotate(&turn, client, next, now);
                let changed = match shown {
                    RefreshOutcome::Rotated(_) | RefreshOutcome::Reused(_) => true,
                    RefreshOutcome::Unknown => false,
                };
                (shown, changed)
            });
        Ok(shown.await?.unwrap_or(RefreshOutcome::Unknown))
    }

    async fn revoke_grants(
        &self,
        filter: &GrantFilter,
        now: Timestamp,
    ) -> Result<Vec<GrantId>, StorageError> {
        let wanted = match filter {
            GrantFilter::Grant(id) => doc! { "_id": uuid(id.0) },
            GrantFilter::Session(browser) => doc! { "browser": uuid(browser.0), "revoked": false },
            GrantFilter::User(user) | GrantFilter::UserAndClient(user, _) => {
                doc! { "user": uuid(user.0), "revoked": false }
            }
            GrantFilter::Client(client) => doc! { "client": client.as_str(), "revoked": false },
        };
        let mut revoked = Vec::new();
        for grant in self.find_grants(wanted).await?.iter().filter(|grant| grant.matches(filter)) {
            let ended =
                self.change_grant(doc! { "_id": uuid(grant.id.0) }, |GrantDocument { grant, .. }| {
                    let ends = grant.is_live(now) && grant.revoke(now);
                    (ends, ends)
                });
            if ended.await? == Some(true) {
                revoked.push(grant.id);
            }
        }
        Ok(revoked)
    }

    async fn revoke_tokens(&self, ids: &[Uuid], until: Timestamp) -> Result<(), StorageError> {
        for id in ids {
            self.put("revoked_tokens", doc! { "_id": uuid(*id) }, revoked_document(*id, until)).await?;
        }
        Ok(())
    }

    async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<(Uuid, Timestamp)>, StorageError> {
        let rows = in_time(async {
            let revoked = self.collection("revoked_tokens");
            let found = revoked.find(doc! { "until": { "$gt": date(now).0 } });
            found.await?.try_collect::<Vec<RawDocumentBuf>>().await
        });
        Ok(rows.await?.iter().map(|row| revoked_of(row)).collect::<Result<_, _>>()?)
    }

    async fn consent(&self, user: UserId, client: &ClientId) -> Result<Option<Scope>, StorageError> {
        let found = self.find_one("consents", doc! { "_id": consent_id(user, client) }).await?;
        Ok(found.map(|row| parse(&row, "scope")).transpose()?)
    }

    async fn set_consent(&self, user: UserId, client: &ClientId, scope: &Scope) -> Result<(), StorageError> {
        let filter = doc! { "_id": consent_id(user, client) };
        Ok(self.put("consents", filter, consent_document(user, client, scope)).await?)
    }

    /// The server deletes expired documents by itself, but by its own clock, and only once a minute.
    async fn delete_expired(&self, now: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let mut swept = 0;
        for (name, end) in crate::mongodb::schema::EXPIRING {
            let old = doc! { end: { "$lt": date(now).0 } };
            let found = in_time(async {
                let rows = self.collection(name);
                let found = rows.find(old.clone()).projection(doc! { "_id": 1 }).limit(at_most(limit));
                found.await?.try_collect::<Vec<RawDocumentBuf>>().await
            });
            let ids = found.await?.iter().map(|row| id_of(row)).collect::<Result<Vec<_>, _>>()?;
            if !ids.is_empty() {
                // the filter is repeated because a grant may have been extended meanwhile
                let mut expired = old;
                expired.insert("_id", doc! { "$in": ids });
                swept += self.remove(name, expired).await?;
            }
        }
        Ok(usize::try_from(swept).unwrap_or(usize::MAX))
    }
}

impl MongoDb {
    async fn find_grant(&self, wanted: Document) -> Result<Option<Grant>, Failure> {
        let found = self.find_one("grants", wanted).await?;
        Ok(found.map(|row| value::<GrantDocument>(&row)).transpose()?.map(|kept| kept.grant))
    }

    async fn find_grants(&self, wanted: Document) -> Result<Vec<Grant>, Failure> {
        let all: Vec<GrantDocument> = self.values("grants", wanted).await?;
        Ok(all.into_iter().map(|kept| kept.grant).collect())
    }

    /// Lets `decide` change the grant that matches, again if another request has changed it meanwhile, and stores it if
    /// there is a change. Returns the decision, if there is such a grant.
    async fn change_grant<T: Send>(
        &self,
        wanted: Document,
        mut decide: impl FnMut(&mut GrantDocument) -> (T, bool) + Send,
    ) -> Result<Option<T>, Failure> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(before) = self.find_one("grants", wanted.clone()).await? else { return Ok(None) };
            let mut kept: GrantDocument = value(&before)?;
            let (decided, changed) = decide(&mut kept);
            if !changed || self.replace_unchanged("grants", &before, kept.document()?).await? {
                return Ok(Some(decided));
            }
        }
        Err(contention())
    }
}

impl GrantDocument {
    pub(crate) fn document(&self) -> Result<RawDocumentBuf, Failure> {
        let Self { grant, code } = self;
        let mut row = rawdoc! {
            "_id": uuid(grant.id.0),
            "user": uuid(grant.user.0),
            "client": grant.client.as_str(),
            "created_at": date(grant.created_at).0,
            "expires_at": date(grant.expires_at).0,
            "revoked": grant.revoked_at.is_some(),
            "body": body(self)?,
        };
        if let Some(browser) = grant.session {
            row.append(cstr!("browser"), uuid(browser.0));
        }
        if let Some(refresh) = grant.refresh {
            row.append(cstr!("family"), bytes(&refresh.family.0));
        }
        if let Some(code) = code {
            row.append(cstr!("code"), bytes(&code.digest.0));
        }
        Ok(row)
    }
}

pub(crate) fn revoked_document(id: Uuid, until: Timestamp) -> RawDocumentBuf {
    rawdoc! { "_id": uuid(id), "until": date(until).0 }
}

pub(crate) fn revoked_of(row: &RawDocument) -> Result<(Uuid, Timestamp), Failure> {
    Ok((uuid_of(row, "_id")?, timestamp(row.get_datetime("until").map_err(unreadable)?, 0)?))
}

fn consent_id(user: UserId, client: &ClientId) -> String {
    format!("{} {client}", user.0)
}

pub(crate) fn consent_document(user: UserId, client: &ClientId, scope: &Scope) -> RawDocumentBuf {
    rawdoc! {
        "_id": consent_id(user, client),
        "user": uuid(user.0),
        "client": client.as_str(),
        "scope": scope.to_string(),
    }
}
