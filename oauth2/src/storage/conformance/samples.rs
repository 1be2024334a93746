//! The users, clients, grants and tokens that the suite stores.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::accounts::api_token::ApiToken;
use crate::accounts::browser_session::BrowserSession;
use crate::accounts::user::{PasswordHash, User};
use crate::base::digest::Digest;
use crate::base::ids::{GrantId, SessionId, TokenId, UserId};
use crate::base::random::RandomSource;
use crate::base::signing_algorithm::SigningAlgorithm;
use crate::clients::client::{Client, ClientKind};
use crate::clients::grant_type::GrantType;
use crate::grants::authorization_code::AuthorizationCode;
use crate::grants::device::{Device, DeviceDecision};
use crate::grants::grant::Grant;
use crate::grants::refresh_token::StoredRefreshToken;
use crate::grants::user_code::UserCode;

/// A time, in seconds from the start of the suite. It is far in the future: a storage may delete by its own clock what
/// has expired.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(4_000_000_000).unwrap() + SignedDuration::from_secs(seconds)
}

pub(super) fn random() -> RandomSource {
    RandomSource::system()
}

pub(super) fn digest() -> Digest {
    Digest::of(&random().text())
}

pub(super) fn sample_user() -> User {
    let id = random().id();
    User {
        id: UserId(id),
        name: format!("u{}", id.simple()).parse().unwrap(),
        display_name: "Änn \"O'Hara\" \u{1f3d4}".to_owned(),
        email: Some("änn@example.org".to_owned()),
        email_verified: true,
        groups: BTreeSet::from(["admin".to_owned(), "é".to_owned()]),
        password: Some(PasswordHash::stored("$argon2id$one".to_owned())),
        disabled: false,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(super) fn sample_client() -> Client {
    let id = format!("c{}_", random().id().simple());
    Client {
        audience: id.clone(),
        id: id.parse().unwrap(),
        name: "An app".to_owned(),
        kind: ClientKind::Confidential { secrets: vec![digest(), digest()] },
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from([GrantType::ClientCredentials, GrantType::DeviceCode]),
        scope: "openid api".parse().unwrap(),
        id_token_alg: SigningAlgorithm::Rs256,
        first_party: false,
        created_at: at(0),
    }
}

/// A grant that expires after an hour, with a refresh token that expires after half an hour.
pub(super) fn sample_grant(user: &User, client: &Client) -> Grant {
    Grant {
        id: GrantId(random().id()),
        user: user.id,
        client: client.id.clone(),
        scope: "openid".parse().unwrap(),
        session: Some(SessionId(random().id())),
        auth_time: at(-5),
        created_at: at(0),
        expires_at: at(3600),
        refresh: Some(sample_refresh()),
        revoked_at: None,
    }
}

pub(super) fn sample_refresh() -> StoredRefreshToken {
    StoredRefreshToken {
        family: digest(),
        current: digest(),
        expires_at: at(1800),
        key: None,
        replaced: None,
    }
}

pub(super) fn sample_code(grant: &Grant) -> AuthorizationCode {
    AuthorizationCode {
        digest: digest(),
        grant: grant.id,
        redirect_uri: "https://app.example/cb".to_owned(),
        challenge: "x".repeat(43),
        nonce: Some("n".to_owned()),
        expires_at: at(60),
        used: false,
    }
}

pub(super) fn sample_browser(user: &User) -> BrowserSession {
    BrowserSession {
        id: SessionId(random().id()),
        cookie: digest(),
        parent: Some(SessionId(random().id())),
        user: user.id,
        auth_time: at(0),
        expires_at: at(3600),
        agent: "A browser".to_owned(),
    }
}

pub(super) fn sample_device(client: &Client) -> Device {
    Device {
        digest: digest(),
        user_code: UserCode::new(&random()),
        client: client.id.clone(),
        scope: "api".parse().unwrap(),
        expires_at: at(600),
        interval_s: 5,
        polled_at: None,
        decision: DeviceDecision::Pending,
    }
}

pub(super) fn sample_token(user: &User, seconds: i64) -> ApiToken {
    ApiToken {
        id: TokenId(random().id()),
        digest: digest(),
        user: user.id,
        name: "my \"script\"".to_owned(),
        scope: "api".parse().unwrap(),
        created_at: at(seconds),
        expires_at: Some(at(1000)),
    }
}
