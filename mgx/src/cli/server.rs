//! The server that the command line connects to, the token for it, and the messages for refused requests.

use std::path::Path;

use mgx_client::Error;
use secrecy::SecretString;

pub(crate) use mgx_client::Client;

use super::credentials::Credentials;
use super::out::{Failure, harmless};
use crate::config::Config;
use crate::data_dir::TOKEN;

/// Flags that name the server and the token, in the place of those of the configuration.
#[derive(Debug, Default, Clone, clap::Args)]
pub(crate) struct Server {
    /// Speak to the server at this address, such as `http://127.0.0.1:8765`; by default to the one at `server.listen`.
    #[arg(long, env = "MGX_URL", global = true, value_name = "URL")]
    url: Option<String>,
    /// The token; by default the one of `mgx login`, else the admin token in the data directory.
    #[arg(long, env = "MGX_TOKEN", global = true, hide_env_values = true, value_name = "TOKEN", hide = true)]
    token: Option<SecretString>,
}

impl Server {
    /// A client of the server that the flags or the configuration name.
    pub(crate) fn client(&self, config: &Config) -> Result<Client, Failure> {
        let url = self.url(config);
        let token = match &self.token {
            Some(token) => token.clone(),
            None => match login_token(&url)? {
                Some(token) => token,
                None => admin_token(&config.server.data_dir)?,
            },
        };
        Ok(Client::new(&url, token)?)
    }

    /// The address of the server that the flags or the configuration name.
    pub(crate) fn url(&self, config: &Config) -> String {
        let url = self.url.clone().unwrap_or_else(|| config.local_url());
        url.trim_end_matches('/').to_owned()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let remedy = match &error {
            Error::Unreachable { .. } => "; start it with `mgx up --detach`",
            Error::Late { .. } | Error::NotReady { .. } => "; look at its log",
            Error::Refused(problem) if problem.status == 401 => {
                "; is MGX_TOKEN, the login or the data directory that of this server?"
            }
            Error::Setup(_) | Error::Broken { .. } | Error::Foreign { .. } | Error::Refused(_) => "",
        };
        let usage = error.problem().is_some_and(|problem| [400, 422].contains(&problem.status));
        Self::with(if usage { 2 } else { 1 }, harmless(&format!("{error}{remedy}")))
    }
}

/// The token that `mgx login` keeps for the server at `url`.
fn login_token(url: &str) -> Result<Option<SecretString>, Failure> {
    let credentials = Credentials::of_this_user().map_err(|error| Failure::new(error.to_string()))?;
    Ok(credentials.and_then(|credentials| credentials.of(url).map(|login| login.token.clone())))
}

/// The admin token that the server keeps in its data directory.
fn admin_token(data_dir: &Path) -> Result<SecretString, Failure> {
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
    use mgx_client::Problem;

    #[test]
    fn a_problem_becomes_a_sentence_and_an_exit_code() {
        let refused = |json: &str| {
            Failure::from(Error::Refused(Box::new(serde_json::from_str::<Problem>(json).unwrap())))
        };
        let failure = refused(
            r#"{ "status": 422, "title": "The request is not valid", "detail": "1 field is not acceptable",
                 "errors": [{ "pointer": "/framework", "detail": "a framework is nextjs or fastapi-vite\u001b[2J" }] }"#,
        );
        insta::assert_snapshot!(failure, @r"
        The request is not valid: 1 field is not acceptable
          /framework a framework is nextjs or fastapi-vite[2J
        ");
        assert_eq!(failure.code, 2);
        let failure = refused(r#"{ "status": 429, "title": "The queue is full" }"#);
        assert_eq!((failure.code, failure.message.as_str()), (1, "The queue is full"));
        let failure = refused(r#"{ "status": 401, "title": "A valid token is needed" }"#);
        assert!(failure.message.ends_with("that of this server?"), "{failure}");
    }
}
