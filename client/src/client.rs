//! One server, and what can be asked of it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use mgx_protocol::{JobId, SessionId};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Problem};
use crate::event::Event;
use crate::views::{Job, JobPage, NewJob, Session};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection may take, and the server to say whether it is ready.
const CONNECT: Duration = Duration::from_secs(5);
const READY: Duration = Duration::from_secs(2);

/// How long a whole session may take to come or to go.
const TRANSFER: Duration = Duration::from_mins(10);

/// Speaks to one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    token: SecretString,
    http: reqwest::Client,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:8765`. Follows no redirect and uses no proxy.
    ///
    /// # Errors
    /// [`Error::Setup`] if HTTP cannot be set up.
    pub fn new(base: &str, token: SecretString) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::Setup)?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token, http })
    }

    /// Where it speaks to.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Makes a session, and with a prompt its first job. `new` is a [`NewSession`](crate::NewSession), or JSON of its
    /// form.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn create_session(&self, new: &impl Serialize) -> Result<Session, Error> {
        self.json(self.request(Method::POST, "/api/sessions").json(new)).await
    }

    /// Submits a job to a session; `None` if there is no such session.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn submit(&self, session: &SessionId, job: &NewJob) -> Result<Option<Job>, Error> {
        let request = self.request(Method::POST, &format!("/api/sessions/{session}/jobs"));
        self.found(request.json(job)).await
    }

    /// A job as it stands; `None` if there is no such job.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}"))).await
    }

    /// A page of jobs, newest first; `query` may have `session`, `state`, `cursor` and `limit`.
    ///
    /// # Errors
    /// It was refused, or there was no answer.
    pub async fn jobs(&self, query: &[(&str, String)]) -> Result<JobPage, Error> {
        self.json(self.request(Method::GET, "/api/jobs").query(query)).await
    }

    /// Asks for the end of a job; `None` if there is no such job.
    ///
    /// # Errors
    /// It has ended, or there was no answer.
    pub async fn cancel(&self, id: JobId) -> Result<Option<Job>, Error> {
        self.found(self.request(Method::POST, &format!("/api/jobs/{id}/cancel"))).await
    }

    /// What a job waits for (`JobExplanation` of `/openapi.json`); `None` if there is no such job.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn explain(&self, id: JobId) -> Result<Option<Value>, Error> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}/explain"))).await
    }

    /// Where the time of a job went (`Timeline` of `/openapi.json`); `None` if there is no such job.
    ///
    /// # Errors
    /// There was no answer.
    pub async fn timeline(&self, id: JobId) -> Result<Option<Value>, Error> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}/timeline"))).await
    }

    /// What waits in the warm pools (`PoolPage` of `/openapi.json`).
    ///
    /// # Errors
    /// There was no answer.
    pub async fn pools(&self) -> Result<Value, Error> {
        self.json(self.request(Method::GET, "/api/pools")).await
    }

    /// A page of the events of a session, after number `after`, or from the oldest that is kept; `None` if there is no
    /// such session. An empty page is the end.
    ///
    /// # Errors
    /// [`Problem`] `events-trimmed` if what comes after `after` is kept no longer; or there was no answer.
    pub async fn event_page(
        &self,
        session: &SessionId,
        after: Option<u64>,
    ) -> Result<Option<Vec<Event>>, Error> {
        let request = self.request(Method::GET, &format!("/api/sessions/{session}/events"));
        let mut query = vec![("limit", 1000)];
        query.extend(after.map(|after| ("after", after)));
        let page: Option<Value> = self.found(request.query(&query)).await?;
        let Some(mut page) = page else { return Ok(None) };
        match page["events"].take() {
            Value::Array(events) => Ok(Some(events.into_iter().filter_map(Event::of).collect())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Err(self.foreign(StatusCode::OK, "no page of events"))
            }
        }
    }

    /// Opens the event stream of a session after number `after`, or from the oldest event that is kept. Its answer has
    /// no deadline. [`Feed`](crate::Feed) does this, and reads it.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn events(&self, session: &SessionId, after: Option<u64>) -> reqwest::Result<Response> {
        let path = format!("/api/sessions/{session}/events");
        let mut request = self.authorized(Method::GET, &path).header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after.to_string());
        }
        request.send().await
    }

    /// All there is of a session but its files, as lines of JSON; `None` if there is no such session.
    ///
    /// # Errors
    /// There was no answer, or it broke off.
    pub async fn export(
        &self,
        session: &SessionId,
    ) -> Result<Option<impl Stream<Item = Result<Bytes, Error>> + Send + use<>>, Error> {
        let request =
            self.authorized(Method::GET, &format!("/api/sessions/{session}/export")).timeout(TRANSFER);
        let answer = self.send(request.header(ACCEPT, "application/jsonl")).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let base = self.base.clone();
                Ok(Some(
                    answer.bytes_stream().map_err(move |source| Error::Broken { base: base.clone(), source }),
                ))
            }
            _ => Err(self.refused(answer).await),
        }
    }

    /// Takes in a session that was exported, from the lines of JSON in `body`.
    ///
    /// # Errors
    /// [`Problem`] `invalid-export` with the line; `conflict` if the session, or a job of it, is there already.
    pub async fn import(&self, body: impl Into<Body>) -> Result<Session, Error> {
        let request = self.authorized(Method::POST, "/api/sessions:import").timeout(TRANSFER);
        self.json(request.header(CONTENT_TYPE, "application/jsonl").body(body)).await
    }

    /// Whether the server is ready, and if not, what it says. `None`: nobody answers.
    pub async fn readiness(&self) -> Option<(bool, String)> {
        let answer = self.http.get(format!("{}/readyz", self.base)).timeout(READY).send().await.ok()?;
        let ready = answer.status().is_success();
        Some((ready, answer.text().await.unwrap_or_default()))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(method, path).header(ACCEPT, "application/json").timeout(PATIENCE)
    }

    /// A POST without the token.
    pub(crate) fn open(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    fn authorized(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.expose_secret())
    }

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

    /// Whether there was something to remove.
    pub(crate) async fn gone(&self, request: RequestBuilder) -> Result<bool, Error> {
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused(answer).await),
        }
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let answer = self.send(request).await?;
        self.read(answer).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
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

    /// Why a request was refused.
    pub(crate) async fn refused(&self, answer: Response) -> Error {
        let status = answer.status();
        match answer.json::<Problem>().await {
            Ok(problem) => Error::Refused(Box::new(problem.of(status))),
            Err(error) => self.foreign(status, &error.without_url().to_string()),
        }
    }

    /// Why a request got no answer.
    pub(crate) fn no_answer(&self, source: reqwest::Error) -> Error {
        let base = self.base.clone();
        if source.is_connect() {
            Error::Unreachable { base }
        } else if source.is_timeout() {
            Error::Late { base }
        } else {
            Error::Broken { base, source }
        }
    }

    pub(crate) fn foreign(&self, status: StatusCode, why: &str) -> Error {
        Error::Foreign { base: self.base.clone(), status: status.as_u16(), why: why.to_owned() }
    }
}
