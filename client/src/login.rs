//! Signing in from a terminal: the device flow of the server's own provider (RFC 8628).

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::client::Client;
use crate::error::Error;

/// Somebody is asked to say yes in a browser.
#[derive(Debug, Deserialize)]
pub struct Login {
    device_code: SecretString,
    /// What they compare, or type.
    pub user_code: String,
    /// Where they type it.
    pub verification_uri: String,
    /// Where it is typed already.
    pub verification_uri_complete: String,
    /// Seconds until it is too late.
    pub expires_in: u64,
    /// Seconds to leave between two looks.
    pub interval: u64,
}

/// What they have said.
#[derive(Debug)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// Nothing yet, and we look too often.
    TooFast,
    /// Yes: an access token, good for minutes.
    Yes(SecretString),
    /// No, or nothing until it was too late.
    No,
}

/// The grant type of RFC 8628 section 3.4.
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// Asks that somebody lets `client` have `scope`.
    ///
    /// # Errors
    /// The server has no such client, or there was no answer.
    pub async fn begin_login(&self, client: &str, scope: &str) -> Result<Login, Error> {
        let form = [("client_id", client), ("scope", scope)];
        let (status, body) = self.form("/oauth2/device_authorization", &form).await?;
        if status != StatusCode::OK {
            return Err(self.foreign(status, &said(&body)));
        }
        serde_json::from_value(body).map_err(|error| self.foreign(status, &error.to_string()))
    }

    /// Looks whether they have said something.
    ///
    /// # Errors
    /// The server says something that is not of this flow, or there was no answer.
    pub async fn poll_login(&self, client: &str, login: &Login) -> Result<Said, Error> {
        use secrecy::ExposeSecret;
        let code = login.device_code.expose_secret();
        let form = [("grant_type", DEVICE_CODE), ("client_id", client), ("device_code", code)];
        let (status, body) = self.form("/oauth2/token", &form).await?;
        match (body["access_token"].as_str(), body["error"].as_str()) {
            (Some(token), _) if status == StatusCode::OK => Ok(Said::Yes(token.to_owned().into())),
            (_, Some("authorization_pending")) => Ok(Said::Nothing),
            (_, Some("slow_down")) => Ok(Said::TooFast),
            (_, Some("access_denied" | "expired_token")) => Ok(Said::No),
            _ => Err(self.foreign(status, &said(&body))),
        }
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Result<(StatusCode, Value), Error> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.open(path).timeout(PATIENCE).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.map_err(|error| self.no_answer(error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| self.no_answer(error))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

/// What a refusal of the provider says.
fn said(body: &Value) -> String {
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("error"), text("error_description")).trim().to_owned()
}
