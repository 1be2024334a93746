//! Clients of the OAuth 2 provider, for administrators.

use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Error;

/// A client of the provider.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OAuthClient {
    /// Its id.
    pub client_id: String,
    /// The name that users see.
    pub name: String,
    /// Whether it has a secret.
    pub confidential: bool,
    /// The addresses that browsers may be sent to with a code.
    pub redirect_uris: Vec<String>,
    /// The addresses that browsers may be sent to after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// The grant types with which it may ask for tokens.
    pub grant_types: Vec<String>,
    /// The scopes it may ask for, with spaces between.
    pub scope: String,
    /// The audience of its access tokens.
    pub audience: String,
    /// The algorithm that its id tokens are signed with.
    pub id_token_signed_response_alg: String,
    /// Whether it belongs to the platform: users are not asked for their consent.
    pub first_party: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Its secret, in the answer to the request that made it and never again.
    #[serde(default, skip_serializing)]
    pub client_secret: Option<SecretString>,
}

/// A client to register.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewOAuthClient {
    /// Its id: 1 to 64 of `A-Z a-z 0-9 _ -`; the server makes a random one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The name that users see.
    pub name: String,
    /// Whether it gets a secret: a program on a server can keep one.
    pub confidential: bool,
    /// The addresses that browsers may be sent to with a code.
    pub redirect_uris: Vec<String>,
    /// The addresses that browsers may be sent to after signing out.
    pub post_logout_redirect_uris: Vec<String>,
    /// The grant types with which it may ask for tokens; the server's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    /// The scopes it may ask for, with spaces between; the server's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The audience of its access tokens: `mgx` is the platform's API; the client itself if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The algorithm that its id tokens are signed with, `RS256` or `ES256`; the server's default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<String>,
}

/// What is to change about a client; absent fields stay as they are, and a list replaces the one before.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OAuthClientChange {
    /// The name that users see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The addresses that browsers may be sent to with a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect_uris: Option<Vec<String>>,
    /// The addresses that browsers may be sent to after signing out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_logout_redirect_uris: Option<Vec<String>>,
    /// The grant types with which it may ask for tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_types: Option<Vec<String>>,
    /// The scopes it may ask for, with spaces between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The audience of its access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The algorithm that its id tokens are signed with, `RS256` or `ES256`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_signed_response_alg: Option<String>,
}

impl Client {
    /// Every client of the provider, in the order of their ids.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn oauth_clients(&self) -> Result<Vec<OAuthClient>, Error> {
        self.every_page("/api/admin/clients").await
    }

    /// Registers a client of the provider.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn add_oauth_client(&self, new: &NewOAuthClient) -> Result<OAuthClient, Error> {
        self.json(self.request(Method::POST, "/api/admin/clients").json(new)).await
    }

    /// Changes a client of the provider; `None` if there is no such client.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn change_oauth_client(
        &self,
        id: &str,
        change: &OAuthClientChange,
    ) -> Result<Option<OAuthClient>, Error> {
        self.found(self.request(Method::PATCH, &format!("/api/admin/clients/{id}")).json(change)).await
    }

    /// Gives a client of the provider a new secret; `None` if there is no such client.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn renew_secret(&self, id: &str) -> Result<Option<OAuthClient>, Error> {
        self.found(self.request(Method::POST, &format!("/api/admin/clients/{id}/secret"))).await
    }

    /// Removes a client of the provider. Returns whether it existed.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn remove_oauth_client(&self, id: &str) -> Result<bool, Error> {
        self.removed(self.request(Method::DELETE, &format!("/api/admin/clients/{id}"))).await
    }
}
