//! Users, for administrators.

use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::expose;
use crate::client::Client;
use crate::error::Error;

/// A user.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct User {
    /// The `sub` claim of the user's tokens.
    pub id: Uuid,
    /// The name that the user signs in with.
    pub name: String,
    /// The name that others see.
    pub display_name: String,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether an administrator vouches that the address is the user's.
    #[serde(default)]
    pub email_verified: bool,
    /// The groups; the members of `admin` are administrators.
    pub groups: Vec<String>,
    /// Whether the user may not sign in.
    pub disabled: bool,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When anything of this last changed.
    pub updated_at: Timestamp,
    /// The random password, in the answer to the request that made it and never again.
    #[serde(default, skip_serializing)]
    pub password: Option<SecretString>,
}

/// A user to add.
#[derive(Clone, Debug, Serialize)]
pub struct NewUser {
    /// The name that the user signs in with: 1 to 64 of `a-z 0-9 . _ @ -`. It cannot be changed.
    pub name: String,
    /// The name that others see; `name` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the caller vouches that the address is the user's.
    pub email_verified: bool,
    /// The groups.
    pub groups: Vec<String>,
    /// The password, 15 to 128 characters; the server makes a random one if absent.
    #[serde(serialize_with = "expose", skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretString>,
}

/// What is to change about a user; absent fields stay as they are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UserChange {
    /// The name that others see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The e-mail address; empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the caller vouches that the address is the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// The groups. A user who leaves a group is signed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Whether the user may not sign in. A user who is disabled is signed out, and the user's tokens are revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A password to set.
#[derive(Serialize)]
struct NewPassword {
    #[serde(serialize_with = "expose", skip_serializing_if = "Option::is_none")]
    password: Option<SecretString>,
}

impl Client {
    /// Every user, in the order of their names.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn users(&self) -> Result<Vec<User>, Error> {
        self.every_page("/api/admin/users").await
    }

    /// Adds a user.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn add_user(&self, new: &NewUser) -> Result<User, Error> {
        self.json(self.request(Method::POST, "/api/admin/users").json(new)).await
    }

    /// Changes a user; `None` if there is no such user.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn change_user(&self, name: &str, change: &UserChange) -> Result<Option<User>, Error> {
        self.found(self.request(Method::PUT, &format!("/api/admin/users/{name}")).json(change)).await
    }

    /// Sets the password of a user, a random one if absent; `None` if there is no such user.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn set_password(
        &self,
        name: &str,
        password: Option<SecretString>,
    ) -> Result<Option<User>, Error> {
        let path = format!("/api/admin/users/{name}/password");
        self.found(self.request(Method::POST, &path).json(&NewPassword { password })).await
    }
}
