//! Why a request failed.

mod cause;

use reqwest::StatusCode;
use serde::Deserialize;

pub use cause::Cause;
pub(crate) use cause::innermost;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// HTTP could not be set up in this process.
    #[error("cannot set up HTTP: {0}")]
    Setup(#[source] reqwest::Error),
    /// The text is no address of a server.
    #[error("{text:?} is no address of a server: {why}")]
    Address {
        /// The text, without what may be a password in it.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token cannot be sent: it has characters that no token has.
    #[error("the token has characters in it that no token has")]
    Token,
    /// There is no connection to the server.
    #[error("{}", cause.sentence(base))]
    Unreachable {
        /// The address of the server.
        base: String,
        /// Why there is none.
        cause: Cause,
    },
    /// The server did not answer in time.
    #[error("{base} does not answer in time")]
    Late {
        /// The address of the server.
        base: String,
    },
    /// The connection broke.
    #[error("cannot speak to {base}: {}", innermost(source))]
    Broken {
        /// The address of the server.
        base: String,
        /// What happened to the connection.
        source: reqwest::Error,
    },
    /// The server was not ready for as long as the client waits.
    #[error("{base} is not ready")]
    NotReady {
        /// The address of the server.
        base: String,
    },
    /// The answer is not one of this API: another program listens at the address.
    #[error("{base} answered {status}, but not as this API does: {why}")]
    Foreign {
        /// The address of the server.
        base: String,
        /// The status of the answer.
        status: u16,
        /// What is wrong with the answer.
        why: String,
    },
    /// The server refused the request.
    #[error("{0}")]
    Refused(Box<Problem>),
}

impl Error {
    /// Whether another try would end in the same way, until the user or an operator changes something.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Unreachable { cause, .. } if cause.is_lasting())
    }

    /// The problem, if the server refused the request.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            Self::Setup(_)
            | Self::Address { .. }
            | Self::Token
            | Self::Unreachable { .. }
            | Self::Late { .. }
            | Self::Broken { .. }
            | Self::NotReady { .. }
            | Self::Foreign { .. } => None,
        }
    }
}

/// A refusal: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// What kind of problem it is, such as `queue-full`: the field to branch on.
    pub code: String,
    /// A short text, the same for every problem of this code.
    pub title: String,
    /// What went wrong this time.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Milliseconds to wait before trying again.
    pub retry_after_ms: Option<u64>,
    /// Everything that is wrong with the request.
    pub errors: Vec<FieldError>,
    /// The limit that was reached.
    pub limit: Option<LimitHit>,
    /// The number of the oldest event that is kept.
    pub oldest: Option<u64>,
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FieldError {
    /// Where in the body: a JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// The parameter of the query.
    pub parameter: Option<String>,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// A limit that was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LimitHit {
    /// Its name, such as `queue.max_queued`.
    pub name: String,
    /// How much is in use, or was asked for.
    pub used: u64,
    /// How much is allowed.
    pub max: u64,
}

impl Problem {
    /// The problem with the status of the answer, and with that status as its title if it has none.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        if self.title.is_empty() {
            self.title = status.to_string();
        }
        self
    }
}

impl std::fmt::Display for Problem {
    /// One sentence, then a line for each wrong field, 20 at most.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() && self.detail != self.title {
            write!(f, ": {}", self.detail)?;
        }
        for FieldError { pointer, parameter, detail } in self.errors.iter().take(20) {
            let place = [pointer, parameter].into_iter().flatten().map(String::as_str).collect::<String>();
            write!(f, "\n  {place} {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_sentence() {
        let problem: Problem = serde_json::from_str(
            r#"{ "type": "/problems/validation", "title": "The request is not valid", "status": 422,
                 "code": "validation", "detail": "1 field is not acceptable", "retryable": false,
                 "errors": [{ "pointer": "/framework", "detail": "a framework is nextjs or fastapi-vite" }] }"#,
        )
        .unwrap();
        insta::assert_snapshot!(problem, @r"
        The request is not valid: 1 field is not acceptable
          /framework a framework is nextjs or fastapi-vite
        ");
        let nothing = Problem::default().with_status(StatusCode::BAD_GATEWAY);
        assert_eq!((nothing.status, nothing.to_string().as_str()), (502, "502 Bad Gateway"));
    }
}
