//! One server, and the HTTP requests that every resource is made of.

use std::time::Duration;

use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use crate::address::Address;
use crate::error::{Cause, Error, Problem};

/// How long one answer may take.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the export or import of a whole session may take.
pub(crate) const TRANSFER_TIMEOUT: Duration = Duration::from_mins(10);

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server may take to say whether it is ready.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// Speaks to one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    token: SecretString,
    http: reqwest::Client,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:8765`, which authenticates with `token`. Follows no
    /// redirect and uses no proxy: the token is sent to this server alone.
    ///
    /// # Errors
    /// [`Error::Address`] or [`Error::Token`] if that is no address or no token; [`Error::Setup`] if HTTP cannot be set
    /// up in this process.
    pub fn new(base: &str, token: SecretString) -> Result<Self, Error> {
        let base = Address::parse(base)?.as_str().to_owned();
        if !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Token);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::Setup)?;
        Ok(Self { base, token, http })
    }

    /// The address of the server.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the server is ready, with the body of its answer; `None` if no server answers.
    pub async fn readiness(&self) -> Option<(bool, String)> {
        let answer =
            self.http.get(format!("{}/readyz", self.base)).timeout(READINESS_TIMEOUT).send().await.ok()?;
        let ready = answer.status().is_success();
        Some((ready, answer.text().await.unwrap_or_default()))
    }

    /// A request with the token, for an answer in JSON.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(method, path).header(ACCEPT, "application/json").timeout(ANSWER_TIMEOUT)
    }

    /// A POST without the token.
    pub(crate) fn anonymous_post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    /// A request with the token, without a deadline.
    pub(crate) fn authorized(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.expose_secret())
    }

    /// Sends a request and reads the answer; `None` if the resource does not exist.
    pub(crate) async fn found<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, Error> {
        let answer = self.send(request).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(answer).await.map(Some)
    }

    /// Sends a request whose answer has no body, such as to remove a resource. Returns whether the resource existed.
    pub(crate) async fn removed(&self, request: RequestBuilder) -> Result<bool, Error> {
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused(answer).await),
        }
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let answer = self.send(request).await?;
        self.read(answer).await
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        request.send().await.map_err(|error| self.no_answer(error))
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response) -> Result<T, Error> {
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refused(answer).await);
        }
        let bytes = answer.bytes().await.map_err(|error| self.no_answer(error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(status, &error.to_string()))
    }

    /// The error of an answer that is a refusal.
    pub(crate) async fn refused(&self, answer: Response) -> Error {
        let status = answer.status();
        if let Some(why) = redirect(&answer) {
            return self.foreign(status, &why);
        }
        match answer.json::<Problem>().await {
            Ok(problem) => Error::Refused(Box::new(problem.with_status(status))),
            Err(error) => self.foreign(status, &error.without_url().to_string()),
        }
    }

    /// The error of a request that got no answer.
    pub(crate) fn no_answer(&self, source: reqwest::Error) -> Error {
        let base = self.base.clone();
        if source.is_timeout() {
            Error::Late { base }
        } else if source.is_connect() {
            Error::Unreachable { base, cause: Cause::of(&source) }
        } else {
            Error::Broken { base, source }
        }
    }

    /// The error of an answer that is not one of this API.
    pub(crate) fn foreign(&self, status: StatusCode, why: &str) -> Error {
        Error::Foreign { base: self.base.clone(), status: status.as_u16(), why: why.to_owned() }
    }
}

/// Where an answer sends the client, which does not go there.
pub(crate) fn redirect(answer: &Response) -> Option<String> {
    let to = answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection())?;
    Some(format!(
        "it sends to {}; if that is the server, name its address",
        String::from_utf8_lossy(to.as_bytes())
    ))
}
