//! One layer of settings over another: the embedded file, the operator's file, the environment, flags.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml_edit::{ImDocument, TableLike};

use super::problem::{Problem, What};

/// Names of the seeds' settings, and the keys they stand for. The order is of no consequence.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("AGENT_CONTAINER_IMAGE", "agent.image"),
    ("AGENT_CONTAINER_MEMORY_LIMIT", "agent.memory"),
    ("AGENT_CONTAINER_CPU_QUOTA", "agent.cpu_quota"),
    ("AGENT_TASK_TIMEOUT_SECONDS", "agent.timeout"),
    ("WORKSPACES_ROOT", "workspaces.root"),
    ("HOST_WORKSPACES_ROOT", "workspaces.host_root"),
    ("OPENAI_API_KEY", "llm.api_key"),
    ("OPENAI_BASE_URL", "llm.base_url"),
    ("DOCKER_HOST", "docker.host"),
    ("CONTAINER_HOST", "podman.host"),
    ("MONGODB_URL", "store.url"),
    ("MONGODB_DB", "store.database"),
];

/// What names of the seeds' settings begin with whose feature does not exist yet: read, and reported as not used.
const UNUSED_PREFIX: &str = "LANGFUSE_";

/// Variables of ours that are no settings.
const NOT_SETTINGS: &[&str] = &["MGX_CONFIG", "MGX_TOKEN", "MGX_URL", "MGX_BIN", "MGX_AGENT_RUNNER"];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The file that is built into the program.
    Default,
    /// The operator's file.
    File {
        /// Its path.
        path: PathBuf,
        /// Line and column, counted from 1, if one place is meant.
        at: Option<(usize, usize)>,
    },
    /// A variable of the environment.
    Env(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, at: Some((line, column)) } => write!(f, "{}:{line}:{column}", path.display()),
            Self::File { path, at: None } => path.display().fmt(f),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Settings from one place.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// A TOML file that still knows where everything was written.
#[derive(Debug)]
pub(super) struct TomlFile {
    pub(super) path: PathBuf,
    document: ImDocument<String>,
}

impl TomlFile {
    /// Reads the operator's file.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => Self::parse(path, &text),
            Ok(Err(_)) => Err(unreadable(path, None, "not UTF-8 text".to_owned())),
            Err(error) => Err(unreadable(path, None, format!("cannot read the file: {error}"))),
        }
    }

    /// Takes `text` for the content of `path`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Problem> {
        match ImDocument::parse(text.to_owned()) {
            Ok(document) => Ok(Self { path: path.to_owned(), document }),
            Err(error) => {
                let at = error.span().map(|span| line_and_column(text, span.start));
                let why = error.message().lines().collect::<Vec<_>>().join(", ");
                Err(unreadable(path, at, format!("not TOML: {why}")))
            }
        }
    }

    /// All of its settings, as one layer.
    pub(super) fn layer(&self) -> Result<Layer, Problem> {
        let values = Toml::from_str(self.document.raw())
            .map_err(|error| unreadable(&self.path, None, format!("not TOML: {error}")))?;
        Ok(Layer { origin: Origin::File { path: self.path.clone(), at: None }, values })
    }

    /// Where `key` is written.
    pub(super) fn origin(&self, key: &str) -> Origin {
        Origin::File { path: self.path.clone(), at: self.find(key) }
    }

    fn find(&self, key: &str) -> Option<(usize, usize)> {
        let mut table: &dyn TableLike = self.document.as_table();
        let mut span = None;
        let mut rest = key;
        while let Some((name, left)) = table.iter().find_map(|(name, _)| Some((name, below(rest, name)?))) {
            let Some((name, item)) = table.get_key_value(name) else { break };
            span = name.span().or_else(|| item.span()).or(span);
            rest = left;
            match item.as_table_like() {
                Some(inner) => table = inner,
                None => break,
            }
        }
        Some(line_and_column(self.document.raw(), span?.start))
    }
}

/// What the environment says: settings, names that are not used yet, and problems.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) layers: Vec<Layer>,
    pub(super) unused: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

impl Environment {
    /// Reads the variables that concern us; a value takes the type that its setting has in `defaults`.
    /// `MGX_…` wins over the seeds' names.
    pub(super) fn read(variables: &[(OsString, OsString)], defaults: &Dict) -> Self {
        let mut read = Self::default();
        for (name, key) in ALIASES {
            if let Some((_, value)) = variables.iter().find(|(variable, _)| variable == name)
                && !value.is_empty()
            {
                read.set(name, key, value, defaults);
            }
        }
        for (name, value) in variables {
            let name = name.to_string_lossy();
            if NOT_SETTINGS.contains(&&*name) || name.starts_with("MGX_SIM_") {
                continue;
            }
            if let Some(key) = name.strip_prefix("MGX_") {
                read.set(&name, &key.to_lowercase().replace("__", "."), value, defaults);
            } else if name.starts_with(UNUSED_PREFIX) && !value.is_empty() {
                read.unused.push(name.into_owned());
            }
        }
        read.unused.sort();
        read
    }

    fn set(&mut self, name: &str, key: &str, value: &OsStr, defaults: &Dict) {
        let origin = Origin::Env(name.to_owned());
        let Some(value) = value.to_str() else {
            let what = What::Value { got: "bytes that are not UTF-8".into(), allowed: "UTF-8 text".into() };
            self.problems.push(Problem { origin, key: key.to_owned(), what });
            return;
        };
        let value = match (name, typed_like(find(defaults, key), value)) {
            // The seeds' name says its unit; ours writes it with the number.
            ("AGENT_TASK_TIMEOUT_SECONDS", value) => match value.into_string() {
                Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => Value::from(text + "s"),
                text => Value::from(text.unwrap_or_default()),
            },
            (_, value) => value,
        };
        self.layers.push(Layer { origin, values: nest(key, value) });
    }
}

/// The value at a dotted key.
pub(super) fn find<'a>(dict: &'a Dict, key: &str) -> Option<&'a Value> {
    dict.iter().find_map(|(name, value)| match below(key, name)? {
        "" => Some(value),
        rest => find(value.as_dict()?, rest),
    })
}

/// What is left of a dotted key below `name`, which may have dots in it itself; empty if that is all of it.
pub(super) fn below<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Takes the value at a dotted key away, and the section that it leaves empty.
pub(super) fn remove(dict: &mut Dict, key: &str) {
    match key.split_once('.') {
        None => drop(dict.remove(key)),
        Some((first, rest)) => {
            if let Some(Value::Dict(_, inner)) = dict.get_mut(first) {
                remove(inner, rest);
                if inner.is_empty() {
                    dict.remove(first);
                }
            }
        }
    }
}

/// Every dotted key of `dict` that holds a value rather than a section.
pub(super) fn leaves(dict: &Dict) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in dict {
        match value {
            Value::Dict(_, inner) => keys.extend(leaves(inner).iter().map(|key| format!("{name}.{key}"))),
            Value::String(..)
            | Value::Char(..)
            | Value::Bool(..)
            | Value::Num(..)
            | Value::Empty(..)
            | Value::Array(..) => keys.push(name.clone()),
        }
    }
    keys
}

/// One value under a dotted key.
pub(super) fn nest(key: &str, value: Value) -> Dict {
    match key.split_once('.') {
        None => Dict::from([(key.to_owned(), value)]),
        Some((first, rest)) => Dict::from([(first.to_owned(), Value::from(nest(rest, value)))]),
    }
}

/// A text as the type that `like` has, or as text if it cannot be that: the setting's own check then says why.
fn typed_like(like: Option<&Value>, text: &str) -> Value {
    let parsed = match like {
        Some(Value::Num(..)) => text
            .parse()
            .map(|n: i64| Value::from(n))
            .ok()
            .or_else(|| text.parse().map(|n: f64| n.into()).ok()),
        Some(Value::Bool(..)) => text.parse().map(|b: bool| Value::from(b)).ok(),
        Some(Value::Array(..)) => text.parse::<Value>().ok(),
        // a name that the operator gives
        None => text.parse().map(|n: i64| Value::from(n)).ok(),
        Some(Value::String(..) | Value::Char(..) | Value::Empty(..) | Value::Dict(..)) => None,
    };
    parsed.unwrap_or_else(|| Value::from(text))
}

fn unreadable(path: &Path, at: Option<(usize, usize)>, why: String) -> Problem {
    let origin = Origin::File { path: path.to_owned(), at };
    Problem { origin, key: String::new(), what: What::Unreadable(why) }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), 1 + before[start..].chars().count())
}
