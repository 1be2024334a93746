//! Signing in from a terminal: the device authorization grant of the server's own provider (RFC 8628).

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::client::{ANSWER_TIMEOUT, Client, redirect};
use crate::error::Error;

/// A sign-in that waits for the user's decision in a browser.
#[derive(Debug, Deserialize)]
pub struct DeviceLogin {
    device_code: SecretString,
    /// The code that the user compares, or types.
    pub user_code: String,
    /// The address at which the user types the code.
    pub verification_uri: String,
    /// The same address with the code in it.
    pub verification_uri_complete: String,
    /// Seconds until the codes expire.
    pub expires_in: u64,
    /// Seconds to wait between two polls.
    pub interval: u64,
}

/// The answer to one poll.
#[derive(Debug)]
pub enum LoginStatus {
    /// The user has not decided yet.
    Pending,
    /// The user has not decided yet, and the client polls too often.
    SlowDown,
    /// The user agreed: an access token, valid for minutes.
    Allowed(SecretString),
    /// The user declined, or the codes have expired.
    Denied,
}

/// The grant type of RFC 8628 section 3.4.
const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

impl Client {
    /// Begins a sign-in through which the user lets `client` have `scope`.
    ///
    /// # Errors
    /// The server has no such client, or did not answer.
    pub async fn begin_login(&self, client: &str, scope: &str) -> Result<DeviceLogin, Error> {
        let form = [("client_id", client), ("scope", scope)];
        let (status, body) = self.post_form("/oauth2/device_authorization", &form).await?;
        if status != StatusCode::OK {
            return Err(self.foreign(status, &oauth_error(&body)));
        }
        serde_json::from_value(body).map_err(|error| self.foreign(status, &error.to_string()))
    }

    /// Asks whether the user has decided.
    ///
    /// # Errors
    /// The server gave an answer that is not of this flow, or did not answer.
    pub async fn poll_login(&self, client: &str, login: &DeviceLogin) -> Result<LoginStatus, Error> {
        let code = login.device_code.expose_secret();
        let form = [("grant_type", DEVICE_CODE_GRANT), ("client_id", client), ("device_code", code)];
        let (status, body) = self.post_form("/oauth2/token", &form).await?;
        match (body["access_token"].as_str(), body["error"].as_str()) {
            (Some(token), _) if status == StatusCode::OK => Ok(LoginStatus::Allowed(token.to_owned().into())),
            (_, Some("authorization_pending")) => Ok(LoginStatus::Pending),
            (_, Some("slow_down")) => Ok(LoginStatus::SlowDown),
            (_, Some("access_denied" | "expired_token")) => Ok(LoginStatus::Denied),
            _ => Err(self.foreign(status, &oauth_error(&body))),
        }
    }

    async fn post_form(&self, path: &str, form: &[(&str, &str)]) -> Result<(StatusCode, Value), Error> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.anonymous_post(path).timeout(ANSWER_TIMEOUT).header(ACCEPT, "application/json");
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let answer = self.send(request).await?;
        let status = answer.status();
        if let Some(why) = redirect(&answer) {
            return Err(self.foreign(status, &why));
        }
        let bytes = answer.bytes().await.map_err(|error| self.no_answer(error))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

/// The error of the provider (RFC 6749 section 5.2) as text.
fn oauth_error(body: &Value) -> String {
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    format!("{} {}", text("error"), text("error_description")).trim().to_owned()
}
