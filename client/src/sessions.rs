//! Sessions: made, exported and imported.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use jiff::Timestamp;
use mgx_protocol::SessionId;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Body, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::client::{Client, TRANSFER_TIMEOUT};
use crate::error::Error;
use crate::jobs::Job;

/// A session to make.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewSession {
    /// Its id; the server makes one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Its name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `nextjs` or `fastapi-vite`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// The task of its first job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Its name, for people.
    pub name: String,
    /// What its app is built with.
    pub framework: String,
    /// Its workspace.
    pub workspace_id: String,
    /// The user that it belongs to.
    pub user: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether a job of it waits or runs.
    pub is_running: bool,
    /// What its agents have used of the model so far.
    pub usage: Usage,
    /// Its first job, if it was made with a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
}

/// What has been used of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Usage {
    /// Requests that reached a model.
    pub requests: u64,
    /// Tokens sent to the model.
    pub prompt_tokens: u64,
    /// Tokens that the model answered with.
    pub completion_tokens: u64,
    /// What the tokens cost, in millionths of the unit of `llm.prices`.
    pub cost_micros: u64,
}

/// A page of sessions, newest first.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// The `cursor` of the next page, if there is one.
    pub next: Option<String>,
}

impl NewSession {
    /// A session whose first job has this prompt.
    pub fn of_prompt(prompt: impl Into<String>) -> Self {
        Self { prompt: Some(prompt.into()), ..Self::default() }
    }
}

impl Client {
    /// Makes a session, and with a prompt its first job.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn create_session(&self, new: &NewSession) -> Result<Session, Error> {
        self.json(self.request(Method::POST, "/api/sessions").json(new)).await
    }

    /// A page of sessions, newest first: those after `cursor`, which is `next` of the page before.
    ///
    /// # Errors
    /// The server refused the request, or did not answer.
    pub async fn sessions(&self, cursor: Option<&str>) -> Result<SessionPage, Error> {
        let mut query = vec![("limit", "200")];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        self.json(self.request(Method::GET, "/api/sessions").query(&query)).await
    }

    /// A session; `None` if there is no such session.
    ///
    /// # Errors
    /// The server did not answer.
    pub async fn session(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        self.found(self.request(Method::GET, &format!("/api/sessions/{id}"))).await
    }

    /// Everything about a session but its files, as lines of JSON; `None` if there is no such session.
    ///
    /// # Errors
    /// The server did not answer, or the answer broke off.
    pub async fn export(
        &self,
        session: &SessionId,
    ) -> Result<Option<impl Stream<Item = Result<Bytes, Error>> + Send + use<>>, Error> {
        let request = self
            .authorized(Method::GET, &format!("/api/sessions/{session}/export"))
            .timeout(TRANSFER_TIMEOUT);
        let answer = self.send(request.header(ACCEPT, "application/jsonl")).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let base = self.base().to_owned();
                Ok(Some(
                    answer.bytes_stream().map_err(move |source| Error::Broken { base: base.clone(), source }),
                ))
            }
            _ => Err(self.refused(answer).await),
        }
    }

    /// Imports a session from the lines of JSON of an export.
    ///
    /// # Errors
    /// [`Problem`](crate::Problem) `invalid-export` with the line; `conflict` if the session, or a job of it, exists
    /// already.
    pub async fn import(&self, body: impl Into<Body>) -> Result<Session, Error> {
        let request = self.authorized(Method::POST, "/api/sessions:import").timeout(TRANSFER_TIMEOUT);
        self.json(request.header(CONTENT_TYPE, "application/jsonl").body(body)).await
    }
}
