//! What every storage promises, as one suite: run [`run`] on any storage, and it panics at the first promise that is not
//! kept. It uses users and clients of its own, so the storage may hold others.
#![expect(clippy::unwrap_used, reason = "a suite of tests, only compiled for tests")]

mod accounts;
mod grants;
mod sessions;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::browser::BrowserSession;
use crate::client::{Client, ClientKind, GrantType};
use crate::device::{Decision, Device, UserCode};
use crate::grant::{Code, Grant, Refresh};
use crate::ids::{GrantId, SessionId, UserId};
use crate::secret::{Chance, Digest};
use crate::storage::Storage;
use crate::user::{PasswordHash, User};

/// Keeps every promise, or panics.
pub async fn run(storage: &dyn Storage) {
    accounts::run(storage).await;
    grants::run(storage).await;
    sessions::run(storage).await;
}

/// What has to be decided once is decided once, whichever of two processes with the same storage is asked.
pub async fn run_on_two(one: &dyn Storage, other: &dyn Storage) {
    grants::once_on_two(one, other).await;
    sessions::once_on_two(one, other).await;
}

/// Leaves one thing of every kind, for a copy of the storage.
pub async fn leave_some(storage: &dyn Storage) {
    let (user, client) = (sample_user(), sample_client());
    let grant = sample_grant(&user, &client);
    storage.add_user(&user).await.unwrap();
    storage.put_client(&client).await.unwrap();
    storage.add_api_token(&accounts::sample_token(&user, 1)).await.unwrap();
    storage.remember_consent(user.id, &client.id, &client.scope).await.unwrap();
    storage.open(&grant, Some(&sample_code(&grant))).await.unwrap();
    storage.sign_in(&sample_browser(&user)).await.unwrap();
    storage.add_device(&sample_device(&client), at(0)).await.unwrap();
    storage.revoke_tokens(&[chance().id()], at(10)).await.unwrap();
}

/// The moment at which the suite plays, and so many seconds later: far from now, for a storage may forget by its own
/// clock what has ended.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(4_000_000_000).unwrap() + SignedDuration::from_secs(seconds)
}

fn chance() -> Chance {
    Chance::system()
}

fn digest() -> Digest {
    Digest::of(&chance().text())
}

fn sample_user() -> User {
    let id = chance().id();
    User {
        id: UserId(id),
        name: format!("u{}", id.simple()).parse().unwrap(),
        display_name: "Änn \"O'Hara\" \u{1f3d4}".to_owned(),
        email: None,
        groups: BTreeSet::from(["admin".to_owned(), "é".to_owned()]),
        password: Some(PasswordHash::stored("$argon2id$one".to_owned())),
        disabled: false,
        created_at: at(0),
        updated_at: at(0),
    }
}

fn sample_client() -> Client {
    let id = format!("c{}_", chance().id().simple());
    Client {
        audience: id.clone(),
        id: id.parse().unwrap(),
        name: "An app".to_owned(),
        kind: ClientKind::Confidential { secrets: vec![digest(), digest()] },
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from([GrantType::ClientCredentials, GrantType::DeviceCode]),
        scope: "openid api".parse().unwrap(),
        first_party: false,
        created_at: at(0),
    }
}

/// A grant that counts for an hour, with a refresh token that counts for half of that.
fn sample_grant(user: &User, client: &Client) -> Grant {
    Grant {
        id: GrantId(chance().id()),
        user: user.id,
        client: client.id.clone(),
        scope: "openid".parse().unwrap(),
        session: Some(SessionId(chance().id())),
        auth_time: at(-5),
        created_at: at(0),
        expires_at: at(3600),
        refresh: Some(sample_refresh()),
        revoked_at: None,
    }
}

fn sample_refresh() -> Refresh {
    Refresh { family: digest(), turn: digest(), expires_at: at(1800), key: None }
}

fn sample_code(grant: &Grant) -> Code {
    Code {
        digest: digest(),
        grant: grant.id,
        redirect_uri: "https://app.example/cb".to_owned(),
        challenge: "x".repeat(43),
        nonce: Some("n".to_owned()),
        expires_at: at(60),
        used: false,
    }
}

fn sample_browser(user: &User) -> BrowserSession {
    BrowserSession {
        id: SessionId(chance().id()),
        cookie: digest(),
        of: Some(SessionId(chance().id())),
        user: user.id,
        auth_time: at(0),
        expires_at: at(3600),
        agent: "A browser".to_owned(),
    }
}

fn sample_device(client: &Client) -> Device {
    Device {
        digest: digest(),
        user_code: UserCode::new(&chance()),
        client: client.id.clone(),
        scope: "api".parse().unwrap(),
        expires_at: at(600),
        interval_s: 5,
        polled_at: None,
        decision: Decision::Pending,
    }
}
