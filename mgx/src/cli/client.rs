//! The HTTP API as the command line uses it.

use std::path::Path;
use std::time::Duration;

use mgx_agent_runner::{JobId, SessionId};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::out::Failure;
use crate::config::Config;
use crate::data_dir::TOKEN;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Speaks to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    base: String,
    token: SecretString,
    http: reqwest::Client,
}

/// Which server to speak to, and with what token, if not with those of the configuration.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Server {
    /// The server's address, such as `http://127.0.0.1:8765`; by default the one that the configuration says.
    #[arg(long, env = "MGX_URL", global = true, value_name = "URL")]
    url: Option<String>,
    /// The token; by default the one in the data directory.
    #[arg(long, env = "MGX_TOKEN", global = true, hide_env_values = true, value_name = "TOKEN", hide = true)]
    token: Option<SecretString>,
}

impl Client {
    /// A client of the server that the flags and the configuration name.
    pub(crate) fn new(server: &Server, config: &Config) -> Result<Self, Failure> {
        let token = match &server.token {
            Some(token) => token.clone(),
            None => read_token(&config.server.data_dir)?,
        };
        let base = server.url.clone().unwrap_or_else(|| url(config));
        let base = base.trim_end_matches('/').to_owned();
        Self::of(base, token)
    }

    /// A client of the server at `base`.
    pub(crate) fn of(base: String, token: SecretString) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::new(format!("cannot set up HTTP: {error}")))?;
        Ok(Self { base, token, http })
    }

    /// Where it speaks to.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Makes a session, and with a prompt its first job.
    pub(crate) async fn create_session(&self, body: Value) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, "/api/sessions").json(&body)).await
    }

    /// Submits a job to a session; `None` if there is no such session.
    pub(crate) async fn submit(&self, session: &SessionId, prompt: &str) -> Result<Option<Value>, Failure> {
        self.order(session, &json!({ "prompt": prompt })).await
    }

    /// Submits the job that `order` describes to a session; `None` if there is no such session.
    pub(crate) async fn order(&self, session: &SessionId, order: &Value) -> Result<Option<Value>, Failure> {
        let request = self.request(Method::POST, &format!("/api/sessions/{session}/jobs"));
        self.found(request.json(order)).await
    }

    /// A job; `None` if there is no such job.
    pub(crate) async fn job(&self, id: JobId) -> Result<Option<Value>, Failure> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}"))).await
    }

    /// A page of jobs, newest first.
    pub(crate) async fn jobs(&self, query: &[(&str, String)]) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, "/api/jobs").query(query)).await
    }

    /// What waits in the warm pools.
    pub(crate) async fn pools(&self) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, "/api/pools")).await
    }

    /// Asks for the end of a job; `None` if there is no such job.
    pub(crate) async fn cancel(&self, id: JobId) -> Result<Option<Value>, Failure> {
        self.found(self.request(Method::POST, &format!("/api/jobs/{id}/cancel"))).await
    }

    /// What a job waits for; `None` if there is no such job.
    pub(crate) async fn explain(&self, id: JobId) -> Result<Option<Value>, Failure> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}/explain"))).await
    }

    /// Where the time of a job went; `None` if there is no such job.
    pub(crate) async fn timeline(&self, id: JobId) -> Result<Option<Value>, Failure> {
        self.found(self.request(Method::GET, &format!("/api/jobs/{id}/timeline"))).await
    }

    /// Opens the event stream of a session after event number `after`. Its answer has no deadline.
    pub(crate) async fn events(&self, session: &SessionId, after: u64) -> reqwest::Result<Response> {
        let path = format!("/api/sessions/{session}/events");
        let request = self.authorized(Method::GET, &path).header("accept", "text/event-stream");
        request.header("last-event-id", after.to_string()).send().await
    }

    /// A page of the events of a session after number `after`.
    pub(crate) async fn event_page(&self, session: &SessionId, after: u64) -> Result<Option<Value>, Failure> {
        let request = self.request(Method::GET, &format!("/api/sessions/{session}/events"));
        self.found(request.query(&[("after", after), ("limit", 1000)])).await
    }

    /// Whether the server is ready, and if not, what it says. `None`: nobody answers.
    pub(crate) async fn readiness(&self) -> Option<(bool, String)> {
        let request = self.http.get(format!("{}/readyz", self.base)).timeout(Duration::from_secs(2));
        let answer = request.send().await.ok()?;
        let ready = answer.status().is_success();
        Some((ready, answer.text().await.unwrap_or_default()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(method, path).header("accept", "application/json").timeout(PATIENCE)
    }

    fn authorized(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(self.token.expose_secret())
    }

    async fn found(&self, request: RequestBuilder) -> Result<Option<Value>, Failure> {
        let answer = self.send(request).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(answer).await.map(Some)
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let answer = self.send(request).await?;
        self.read(answer).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    async fn read(&self, answer: Response) -> Result<Value, Failure> {
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|error| {
            Failure::new(format!("{} answered {status}, but not in JSON: {}", self.base, error.without_url()))
        })?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    /// Why a request got no answer, and what to do.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            return Failure::new(format!(
                "no server answers at {}; start it with `mgx up --detach`",
                self.base
            ));
        }
        if error.is_timeout() {
            return Failure::new(format!("{} does not answer in time; look at its log", self.base));
        }
        Failure::new(format!("cannot speak to {}: {error}", self.base))
    }
}

/// A problem (RFC 9457) as one sentence.
pub(crate) fn refusal(status: StatusCode, body: &Value) -> Failure {
    let text = |key: &str| body.get(key).and_then(Value::as_str).map(str::to_owned);
    let title = text("title").unwrap_or_else(|| status.to_string());
    let mut message = match text("detail") {
        Some(detail) if detail != title => format!("{title}: {detail}"),
        _ => title,
    };
    for error in body.get("errors").and_then(Value::as_array).into_iter().flatten().take(20) {
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = text("pointer") + &text("parameter");
        message.extend(["\n  ", &place, " ", &text("detail"), &text("message")]);
    }
    if status == StatusCode::UNAUTHORIZED {
        message.push_str("; is MGX_TOKEN, or the data directory, that of this server?");
    }
    let usage = status == StatusCode::UNPROCESSABLE_ENTITY || status == StatusCode::BAD_REQUEST;
    Failure::with(if usage { 2 } else { 1 }, super::out::harmless(&message))
}

/// Where the server of this configuration is reached from this machine.
pub(crate) fn url(config: &Config) -> String {
    let mut address = config.server.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}

fn read_token(data_dir: &Path) -> Result<SecretString, Failure> {
    let path = data_dir.join(TOKEN);
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(token.trim().to_owned().into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::new(format!(
            "there is no token in {}; start the server with `mgx up --detach`, or set MGX_TOKEN",
            data_dir.display()
        ))),
        Err(error) => Err(Failure::new(format!(
            "cannot read {}: {error}; run this as the user that the server runs as, or set MGX_TOKEN",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_a_sentence_and_an_exit_code() {
        let body = json!({
            "title": "The request is not valid", "detail": "1 field is not acceptable",
            "errors": [{ "pointer": "/framework", "detail": "a framework is nextjs or fastapi-vite\u{1b}[2J" }]
        });
        let failure = refusal(StatusCode::UNPROCESSABLE_ENTITY, &body);
        insta::assert_snapshot!(failure, @r"
        The request is not valid: 1 field is not acceptable
          /framework a framework is nextjs or fastapi-vite[2J
        ");
        assert_eq!(failure.code, 2);
        let failure = refusal(StatusCode::TOO_MANY_REQUESTS, &json!({ "title": "The queue is full" }));
        assert_eq!((failure.code, failure.message.as_str()), (1, "The queue is full"));
    }
}
