//! The conformance suite of storages: [`run`] panics at the first promise that a storage breaks. It uses users and
//! clients of its own, so the storage may hold others.
#![expect(clippy::unwrap_used, reason = "a suite of tests, only compiled for tests")]

mod accounts;
mod grants;
mod samples;
mod sessions;

use crate::storage::Storage;
use crate::storage::conformance::samples::{
    at, random, sample_browser, sample_client, sample_code, sample_device, sample_grant, sample_token,
    sample_user,
};

/// Runs the suite on one storage.
pub async fn run(storage: &dyn Storage) {
    accounts::run(storage).await;
    grants::run(storage).await;
    sessions::run(storage).await;
}

/// Checks that codes, refresh tokens and devices are used up once when two processes share a storage.
pub async fn run_on_two(one: &dyn Storage, other: &dyn Storage) {
    grants::once_on_two(one, other).await;
    sessions::once_on_two(one, other).await;
}

/// Stores one record of every kind, for tests that copy a storage.
pub async fn leave_some(storage: &dyn Storage) {
    let (user, client) = (sample_user(), sample_client());
    let grant = sample_grant(&user, &client);
    storage.add_user(&user).await.unwrap();
    storage.put_client(&client).await.unwrap();
    storage.add_api_token(&sample_token(&user, 1)).await.unwrap();
    storage.set_consent(user.id, &client.id, &client.scope).await.unwrap();
    storage.add_grant(&grant, Some(&sample_code(&grant))).await.unwrap();
    storage.add_session(&sample_browser(&user)).await.unwrap();
    storage.add_device(&sample_device(&client), at(0)).await.unwrap();
    storage.revoke_tokens(&[random().id()], at(10)).await.unwrap();
}
