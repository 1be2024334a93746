//! The layers of settings: the built-in file, the operator's file, the environment, flags.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml_edit::{ImDocument, TableLike};

use super::origin::Origin;
use super::problem::{Problem, What};

/// Older names of settings in the environment, and their keys.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("AGENT_CONTAINER_IMAGE", "agent.image"),
    ("AGENT_CONTAINER_MEMORY_LIMIT", "agent.memory"),
    ("AGENT_CONTAINER_CPU_QUOTA", "agent.cpu_quota"),
    ("AGENT_TASK_TIMEOUT_SECONDS", "agent.timeout"),
    ("WORKSPACES_ROOT", "workspaces.root"),
    ("HOST_WORKSPACES_ROOT", "workspaces.host_root"),
    ("AGENT_DEFAULT_MODEL", "agents.default_model"),
    ("AGENT_MAX_ITERATIONS", "agents.max_turns"),
    ("AGENT_PM_MODEL", "agents.roles.product_manager.model"),
    ("AGENT_PM_TEMPERATURE", "agents.roles.product_manager.temperature"),
    ("AGENT_ARCHITECT_MODEL", "agents.roles.architect.model"),
    ("AGENT_ARCHITECT_TEMPERATURE", "agents.roles.architect.temperature"),
    ("AGENT_PJM_MODEL", "agents.roles.project_manager.model"),
    ("AGENT_PJM_TEMPERATURE", "agents.roles.project_manager.temperature"),
    ("AGENT_ENGINEER_MODEL", "agents.roles.engineer.model"),
    ("AGENT_ENGINEER_TEMPERATURE", "agents.roles.engineer.temperature"),
    ("AGENT_QA_MODEL", "agents.roles.qa.model"),
    ("AGENT_QA_TEMPERATURE", "agents.roles.qa.temperature"),
    ("OPENAI_API_KEY", "llm.api_key"),
    ("OPENAI_BASE_URL", "llm.base_url"),
    ("DOCKER_HOST", "docker.host"),
    ("CONTAINER_HOST", "podman.host"),
    ("MONGODB_URL", "store.url"),
    ("MONGODB_DB", "store.database"),
];

/// What the names of older settings begin with that have no effect here: the server says so at its start.
const IGNORED_PREFIXES: [&str; 2] = ["LANGFUSE_", "AGENT_BOSS_"];

/// Variables that begin with `MGX_` and are no settings.
const NOT_SETTINGS: &[&str] = &["MGX_CONFIG", "MGX_TOKEN", "MGX_URL", "MGX_BIN", "MGX_AGENT_RUNNER"];

/// The settings from one source.
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

/// A TOML file with the position of every key.
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

    /// Parses `text`, the content of the file at `path`.
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

    /// Every setting of the file, as one layer.
    pub(super) fn layer(&self) -> Result<Layer, Problem> {
        let values = Toml::from_str(self.document.raw())
            .map_err(|error| unreadable(&self.path, None, format!("not TOML: {error}")))?;
        Ok(Layer { origin: Origin::File { path: self.path.clone(), at: None }, values })
    }

    /// The position of `key` in the file.
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

/// What was read from the environment.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) layers: Vec<Layer>,
    pub(super) ignored: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

impl Environment {
    /// Reads the variables that are settings. A value gets the type that its setting has in `defaults`. `MGX_…` overrides
    /// the older names.
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
            } else if IGNORED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !value.is_empty() {
                read.ignored.push(name.into_owned());
            }
        }
        read.ignored.sort();
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
            // the unit is in the name of this variable, and in the value of our setting
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

/// The rest of a dotted key below `name`, which may contain dots itself; empty if the key is `name`.
pub(super) fn below<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Removes the value at a dotted key, and its section if that is empty then.
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

/// Every dotted key of `dict` that holds a value and not a section.
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

/// A dictionary with one value at a dotted key.
pub(super) fn nest(key: &str, value: Value) -> Dict {
    match key.split_once('.') {
        None => Dict::from([(key.to_owned(), value)]),
        Some((first, rest)) => Dict::from([(first.to_owned(), Value::from(nest(rest, value)))]),
    }
}

/// `text` as a value of the type of `like`. Text that cannot be parsed stays text, and the check of the setting refuses
/// it.
fn typed_like(like: Option<&Value>, text: &str) -> Value {
    let parsed = match like {
        Some(Value::Num(..)) => text
            .parse()
            .map(|n: i64| Value::from(n))
            .ok()
            .or_else(|| text.parse().map(|n: f64| n.into()).ok()),
        Some(Value::Bool(..)) => text.parse().map(|b: bool| Value::from(b)).ok(),
        Some(Value::Array(..)) => text.parse::<Value>().ok(),
        // a key that the operator chose: a weight, a price or a temperature
        None => text.parse().map(|n: i64| Value::from(n)).ok().or_else(|| {
            let number = text.parse().map(|n: f64| Value::from(n)).ok();
            number.filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
        }),
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
