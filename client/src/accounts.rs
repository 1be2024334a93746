//! Accounts, clients of the provider and API tokens, as administrators and users ask for them. What is shown is the JSON
//! of `/openapi.json`.

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::error::Error;

/// What can be listed page by page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Users.
    Users,
    /// Clients of the provider.
    Clients,
}

impl Listed {
    fn path(self) -> &'static str {
        match self {
            Self::Users => "/api/admin/users",
            Self::Clients => "/api/admin/clients",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Clients => "clients",
        }
    }
}

impl Client {
    /// Who is asking, and what they may (`Me`).
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn me(&self) -> Result<Value, Error> {
        self.json(self.request(Method::GET, "/api/me")).await
    }

    /// All of them (`UserView`, `ClientView`).
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn all(&self, listed: Listed) -> Result<Vec<Value>, Error> {
        let (mut all, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("limit", "200".to_owned())];
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let mut page: Value = self.json(self.request(Method::GET, listed.path()).query(&query)).await?;
            if let Value::Array(found) = page[listed.field()].take() {
                all.extend(found);
            }
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(all),
            }
        }
    }

    /// Adds a user (`UserRequest`), or a client (`ClientRequest`).
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn add(&self, listed: Listed, new: &impl Serialize) -> Result<Value, Error> {
        self.json(self.request(Method::POST, listed.path()).json(new)).await
    }

    /// Changes a user (`UserChange`); `None` if there is no such user.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn change_user(&self, name: &str, change: &impl Serialize) -> Result<Option<Value>, Error> {
        self.found(self.request(Method::PUT, &format!("/api/admin/users/{name}")).json(change)).await
    }

    /// Gives a user a new password (`PasswordRequest`); `None` if there is no such user.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn set_password(&self, name: &str, password: &impl Serialize) -> Result<Option<Value>, Error> {
        let path = format!("/api/admin/users/{name}/password");
        self.found(self.request(Method::POST, &path).json(password)).await
    }

    /// Gives a client of the provider a new secret; `None` if there is no such client.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn renew_secret(&self, id: &str) -> Result<Option<Value>, Error> {
        self.found(self.request(Method::POST, &format!("/api/admin/clients/{id}/secret"))).await
    }

    /// Removes a client of the provider. Whether there was one.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn remove_client(&self, id: &str) -> Result<bool, Error> {
        self.gone(self.request(Method::DELETE, &format!("/api/admin/clients/{id}"))).await
    }

    /// Makes an API token (`TokenRequest`): one's own, or that of `user`.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn make_token(&self, user: Option<&str>, new: &impl Serialize) -> Result<Value, Error> {
        self.json(self.request(Method::POST, "/api/tokens").query(&of(user)).json(new)).await
    }

    /// API tokens (`TokenList`): one's own, or those of `user`.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn tokens(&self, user: Option<&str>) -> Result<Value, Error> {
        self.json(self.request(Method::GET, "/api/tokens").query(&of(user))).await
    }

    /// Takes an API token back. Whether there was one.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn revoke_token(&self, user: Option<&str>, id: &str) -> Result<bool, Error> {
        self.gone(self.request(Method::DELETE, &format!("/api/tokens/{id}")).query(&of(user))).await
    }
}

fn of(user: Option<&str>) -> Vec<(&'static str, &str)> {
    user.map(|user| ("user", user)).into_iter().collect()
}
