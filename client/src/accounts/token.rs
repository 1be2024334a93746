//! API tokens: credentials that a user gives to programs instead of a password.

use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::Client;
use crate::error::Error;

/// An API token.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ApiToken {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it allows: any of `read`, `write` and `admin`, with spaces between.
    pub scope: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// Its text, in the answer to the request that made it and never again.
    #[serde(default, skip_serializing)]
    pub token: Option<SecretString>,
}

/// An API token to make.
#[derive(Clone, Debug, Serialize)]
pub struct NewApiToken {
    /// Its name, 1 to 100 characters.
    pub name: String,
    /// What it allows: any of `read`, `write` and `admin`, with spaces between.
    pub scope: String,
    /// When it expires; never if absent.
    pub expires_at: Option<Timestamp>,
}

/// The tokens of a user, newest first.
#[derive(Deserialize)]
struct TokenList {
    tokens: Vec<ApiToken>,
}

impl Client {
    /// Makes an API token for `user`, or for the caller.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn make_token(&self, user: Option<&str>, new: &NewApiToken) -> Result<ApiToken, Error> {
        self.json(self.request(Method::POST, "/api/tokens").query(&of_user(user)).json(new)).await
    }

    /// The API tokens of `user`, or of the caller, newest first.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn tokens(&self, user: Option<&str>) -> Result<Vec<ApiToken>, Error> {
        let request = self.request(Method::GET, "/api/tokens").query(&of_user(user));
        Ok(self.json::<TokenList>(request).await?.tokens)
    }

    /// Revokes an API token of `user`, or of the caller. Returns whether it existed.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn revoke_token(&self, user: Option<&str>, id: Uuid) -> Result<bool, Error> {
        self.removed(self.request(Method::DELETE, &format!("/api/tokens/{id}")).query(&of_user(user))).await
    }
}

fn of_user(user: Option<&str>) -> Vec<(&'static str, &str)> {
    user.map(|user| ("user", user)).into_iter().collect()
}
