//! Accounts: users, clients of the OAuth 2 provider, API tokens, and signing in.

pub mod login;
pub mod oauth_client;
pub mod token;
pub mod user;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::client::Client;
use crate::error::Error;

/// The caller, and what its token allows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Me {
    /// The user's name.
    pub user: String,
    /// What the token allows: `read`, `write`, `admin`, and what a newer server adds.
    pub scopes: Vec<String>,
    /// Whether the caller is an administrator and sees what belongs to every user.
    pub is_admin: bool,
}

/// The password that the caller has, and the one that the caller wants.
#[derive(Serialize)]
struct PasswordChange {
    #[serde(serialize_with = "expose")]
    current_password: Option<SecretString>,
    #[serde(serialize_with = "expose")]
    password: Option<SecretString>,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(rename = "users", alias = "clients")]
    items: Vec<T>,
    next: Option<String>,
}

impl Client {
    /// The caller, and what its token allows.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn me(&self) -> Result<Me, Error> {
        self.json(self.request(Method::GET, "/api/me")).await
    }

    /// Changes the caller's own password. Returns whether the caller is a user, and so has one.
    ///
    /// # Errors
    /// The current password is wrong, the new one breaks a rule, or the server did not answer.
    pub async fn change_password(&self, current: SecretString, new: SecretString) -> Result<bool, Error> {
        let change = PasswordChange { current_password: Some(current), password: Some(new) };
        self.removed(self.request(Method::POST, "/api/me/password").json(&change)).await
    }

    /// Everything on the pages of the list at `path`.
    async fn every_page<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Error> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("limit", "200".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page<T> = self.json(self.request(Method::GET, path).query(&query)).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// Writes a secret into a request.
#[expect(clippy::ref_option, reason = "serde's `serialize_with` passes a reference to the field")]
fn expose<S: Serializer>(secret: &Option<SecretString>, to: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(ExposeSecret::expose_secret).serialize(to)
}
