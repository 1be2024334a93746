//! The cases in `corpus/`: data files, one for each kind of behaviour.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// One behaviour of a provider, and what is expected of the team.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its name, which the prompt names.
    pub(crate) name: String,
    /// What the provider does, for people.
    #[serde(rename = "about")]
    pub(crate) _about: String,
    /// Played at a provider of its own: what is learnt of a model in it is wrong for the other cases.
    #[serde(default)]
    pub(crate) apart: bool,
    /// What the provider answers the requests of the engineer with, in order; the last answer is given again and again.
    pub(crate) answers: Vec<Answer>,
    /// Requests that it refuses, whatever their number.
    #[serde(default)]
    pub(crate) refuses: Vec<Refusal>,
    pub(crate) expect: Expectation,
}

/// One answer of a provider.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Answer {
    /// The status line's rest; `200 OK` if empty.
    pub(crate) status: String,
    /// `text/event-stream` if empty.
    pub(crate) content_type: String,
    pub(crate) headers: Vec<String>,
    /// A whole body in the place of `steps`: text, or JSON.
    pub(crate) body: Option<Value>,
    /// A whole body as bytes, in hexadecimal digits.
    pub(crate) body_hex: Option<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) end: End,
    /// The answer is HTTP/1.0: its end is the end of the connection.
    pub(crate) is_http10: bool,
}

/// One thing that a provider sends in a stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Text, in pieces of forty characters.
    Text(String),
    /// A whole call of `write_file`, in pieces: the path. Its content is `page`.
    Write(String),
    /// A delta, as it is.
    Delta(Value),
    /// The end of the reply, with this `finish_reason`.
    Finish(String),
    /// The data of an event, as it is: text, or JSON.
    Data(Value),
    /// Bytes, as they are.
    Raw(String),
    /// Bytes, as they are, in hexadecimal digits: for those that are no text by themselves.
    Hex(String),
    /// A pause in milliseconds.
    Pause(u64),
    /// The same delta so many times, with a pause in milliseconds between.
    Repeat(Value, u64, u64),
    /// `[DONE]`.
    Done,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// In order.
    #[default]
    Close,
    /// The connection is reset.
    Reset,
    /// The connection stays open.
    Hold,
}

/// A request that a provider refuses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// What is wrong with the request.
    pub(crate) when: Fault,
    pub(crate) status: String,
    pub(crate) body: Value,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// It has this field.
    HasField(String),
    /// A message has this role.
    HasRole(String),
    /// A message has this field.
    MessageHas(String),
    /// A message's content is null.
    NullContent,
    /// An assistant message with calls lacks this field.
    MessageLacks(String),
    /// A call in the history lacks this field.
    CallLacks(String),
    /// Two calls, or two results, share an id.
    SharedId,
    /// A call's name is not `[A-Za-z0-9_-]{1,64}`.
    BadName,
    /// A message's content is an empty text.
    EmptyContent,
    /// It has more than so many tokens, four characters each.
    LongerThan(usize),
}

/// What is expected of the job.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    pub(crate) state: String,
    /// Words of its error.
    #[serde(default)]
    pub(crate) error: Vec<String>,
    /// How many requests of the engineer reach the provider: any of these numbers.
    pub(crate) requests: Vec<usize>,
    /// Files, and a part of their text.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) events: Vec<String>,
    #[serde(default)]
    pub(crate) no_events: Vec<String>,
    #[serde(default)]
    pub(crate) max_events: Option<usize>,
    /// How long the job may take, in milliseconds.
    #[serde(default)]
    pub(crate) max_ms: Option<u64>,
    /// What the last request holds.
    #[serde(default)]
    pub(crate) sent: Vec<String>,
    /// What the last request does not hold.
    #[serde(default)]
    pub(crate) not_sent: Vec<String>,
}

/// Every case.
pub(crate) fn all() -> Result<Vec<Case>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers/corpus");
    let mut cases = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let of_file: Vec<Case> = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a list of cases", file.display()))?;
        cases.extend(of_file);
    }
    Ok(cases)
}
