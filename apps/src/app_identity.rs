//! What a generated app is at the platform's OAuth 2 provider: a client of its own, whose secret only its own containers
//! are given. The secret is made of a key, so it is stored nowhere.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::attempt_token::{TokenKeyError, key};
use crate::session::Session;

/// What the ids of these clients begin with. Nobody else's do.
pub const APP_CLIENT_PREFIX: &str = "app-";

/// The longest id of a client, in characters.
const MAX_ID: usize = 64;

/// Said before everything that is signed, so that no signature of this key means anything else.
const PURPOSE: &[u8] = b"mgx app secret, version 1\0";

/// Makes the identities of apps. Cheap to clone.
#[derive(Clone)]
pub struct AppIdentity {
    key: hmac::Key,
    origin: String,
}

/// A generated app as a client of the provider.
#[derive(Debug)]
pub struct AppClient {
    /// Its id: made of the session's.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its secret: 256 bits, another one for every session that was ever made.
    pub secret: SecretString,
    /// Where browsers come back to with a code: to the app in development, and in production.
    pub redirect_uris: [String; 2],
    /// Where they go after signing out.
    pub post_logout_redirect_uris: [String; 2],
}

impl AppIdentity {
    /// Loads the key from `path`, or makes one (mode 0600); `origin` is where the platform is reached, such as
    /// `https://mgx.example.org`.
    ///
    /// # Errors
    /// [`TokenKeyError`] if the file is not a key, or others could know it.
    pub fn load_or_create(path: &Path, origin: &str) -> Result<Self, TokenKeyError> {
        key(path).map(|key| Self::with_key(&key, origin))
    }

    /// The identities of a key that the caller has.
    pub fn with_key(key: &[u8; 32], origin: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), origin: origin.to_owned() }
    }

    /// The client that the app of `session` is; always the same one.
    pub fn client(&self, session: &Session) -> AppClient {
        let workspace = &session.workspace;
        let places = ["dev", "prod"].map(|place| format!("{}/apps/{workspace}/{place}/", self.origin));
        let name: String = session.name.chars().filter(|c| !c.is_control()).take(80).collect();
        AppClient {
            id: client_id(session.id.as_str()),
            name: if name.trim().is_empty() { session.id.to_string() } else { name },
            secret: self.secret(session),
            redirect_uris: places.clone().map(|place| format!("{place}auth/callback")),
            post_logout_redirect_uris: places,
        }
    }

    /// What its containers are told.
    pub(crate) fn env(&self, session: &Session) -> [(String, String); 4] {
        let AppClient { id, secret, redirect_uris: [dev, _], .. } = self.client(session);
        [
            ("OAUTH_ISSUER".to_owned(), format!("{}/oauth2", self.origin)),
            ("OAUTH_CLIENT_ID".to_owned(), id),
            ("OAUTH_CLIENT_SECRET".to_owned(), secret.expose_secret().to_owned()),
            ("OAUTH_REDIRECT_URI".to_owned(), dev),
        ]
    }

    fn secret(&self, session: &Session) -> SecretString {
        // a session of the same id that is made again is another one
        let made = session.created_at.as_millisecond().to_be_bytes();
        let tag = hmac::sign(&self.key, &[PURPOSE, &made, session.id.as_str().as_bytes()].concat());
        format!("mgx_cs_{}", URL_SAFE_NO_PAD.encode(tag)).into()
    }
}

/// A session's id may be as long as a client's.
fn client_id(session: &str) -> String {
    let id = format!("{APP_CLIENT_PREFIX}{session}");
    if id.len() <= MAX_ID {
        return id;
    }
    let hash = URL_SAFE_NO_PAD.encode(digest(&SHA256, session.as_bytes()));
    format!("{APP_CLIENT_PREFIX}{hash}")
}

impl fmt::Debug for AppIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppIdentity").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Framework, Usage};
    use jiff::{SignedDuration, Timestamp};

    fn session(id: &str) -> Session {
        Session {
            id: id.parse().unwrap(),
            name: "A shop\nfor teapots".to_owned(),
            framework: Framework::Nextjs,
            workspace: "shop".parse().unwrap(),
            user: "ann".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            usage: Usage::default(),
        }
    }

    #[test]
    fn an_app_has_an_identity_of_its_own_that_dies_with_its_session() {
        let identity = AppIdentity::with_key(&[7; 32], "https://mgx.example");
        let client = identity.client(&session("s1"));
        assert_eq!((&*client.id, &*client.name), ("app-s1", "A shopfor teapots"));
        assert_eq!(client.redirect_uris[0], "https://mgx.example/apps/shop/dev/auth/callback");
        assert_eq!(client.post_logout_redirect_uris[1], "https://mgx.example/apps/shop/prod/");
        let secret = |session: &Session| identity.client(session).secret.expose_secret().to_owned();
        let same = secret(&session("s1"));
        assert_eq!((secret(&session("s1")), same.len()), (same.clone(), 50));
        let again =
            Session { created_at: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1), ..session("s1") };
        let other = AppIdentity::with_key(&[8; 32], "https://mgx.example").client(&session("s1"));
        for different in [secret(&again), secret(&session("s2")), other.secret.expose_secret().to_owned()] {
            assert_ne!(different, same);
        }
        assert!(!format!("{identity:?}{client:?}").contains(&same));
        let long = identity.client(&session(&"x".repeat(64))).id;
        assert!(long.starts_with(APP_CLIENT_PREFIX) && long.len() <= MAX_ID, "{long}");
    }
}
