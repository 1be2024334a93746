//! A generated app as a client of the platform's OAuth 2 provider. Only the app's own containers get its secret, which
//! is derived from a key and stored nowhere.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::identity::key_file::{KEY_BYTES, TokenKeyError, load_or_create};
use crate::sessions::session::Session;

/// The prefix of the ids of these clients. No other client's id has it.
pub const APP_CLIENT_PREFIX: &str = "app-";

/// The longest id of a client, in characters.
const MAX_ID: usize = 64;

/// Signed before every session, so that a signature for another purpose is never valid here.
const PURPOSE: &[u8] = b"mgx app secret, version 1\0";

/// Derives the clients of apps from a key. Cheap to clone.
#[derive(Clone)]
pub struct AppIdentity {
    key: hmac::Key,
    origin: String,
}

/// A generated app as a client of the provider.
#[derive(Debug)]
pub struct AppClient {
    /// Its id, derived from the id of the session.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Its secret: 256 bits, different for every session that was ever created.
    pub secret: SecretString,
    /// Where browsers return to with an authorization code: the app in development, and in production.
    pub redirect_uris: [String; 2],
    /// Where browsers go after signing out.
    pub post_logout_redirect_uris: [String; 2],
}

impl AppIdentity {
    /// Loads the key from `path`, or creates one (mode 0600). `origin` is the address of the platform, such as
    /// `https://mgx.example.org`.
    ///
    /// # Errors
    /// [`TokenKeyError`] if the file is not a key, or other users of the host may read it.
    pub fn load_or_create(path: &Path, origin: &str) -> Result<Self, TokenKeyError> {
        load_or_create(path).map(|key| Self::with_key(&key, origin))
    }

    /// The identities of a given key.
    pub fn with_key(key: &[u8; KEY_BYTES], origin: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), origin: origin.to_owned() }
    }

    /// The client of the app of `session`: always the same one.
    pub fn client(&self, session: &Session) -> AppClient {
        let workspace = &session.workspace;
        let urls = ["dev", "prod"].map(|stage| format!("{}/apps/{workspace}/{stage}/", self.origin));
        let name: String = session.name.chars().filter(|c| !c.is_control()).take(80).collect();
        AppClient {
            id: client_id(session.id.as_str()),
            name: if name.trim().is_empty() { session.id.to_string() } else { name },
            secret: self.secret(session),
            redirect_uris: urls.clone().map(|url| format!("{url}auth/callback")),
            post_logout_redirect_uris: urls,
        }
    }

    /// The environment variables of its containers.
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
        // a session that was deleted and created again under the same id gets another secret
        let created = session.created_at.as_millisecond().to_be_bytes();
        let tag = hmac::sign(&self.key, &[PURPOSE, &created, session.id.as_str().as_bytes()].concat());
        format!("mgx_cs_{}", URL_SAFE_NO_PAD.encode(tag)).into()
    }
}

/// The id of a session may be as long as the longest id of a client; then it is hashed.
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
    use crate::framework::Framework;
    use crate::sessions::session::Usage;
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
    fn every_session_has_its_own_client_and_secret() {
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
