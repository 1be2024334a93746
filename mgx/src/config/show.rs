//! The settings for people: every value with its source, and the reference page made of `mgx.toml`.

use std::fmt::Write;

use figment::value::Value;
use serde::Serialize;
use toml_edit::{DocumentMut, Item};

use super::layer::{ALIASES, leaves};
use super::{Config, EMBEDDED, Loaded, Stack, is_secret};

/// One setting and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The dotted key.
    pub key: String,
    /// The value as TOML; masked if it is secret.
    pub value: String,
    /// Where it comes from: `default`, `file:line:column`, `env NAME`, `flag NAME`.
    pub source: String,
}

impl Loaded {
    /// Every setting, in the order of `mgx.toml`.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }
}

pub(super) fn settings(stack: &Stack, config: &Config) -> Vec<Setting> {
    let mut keys = stack.figment.extract().map_or_else(|_| leaves(&stack.defaults), |all| leaves(&all));
    keys.sort_by_key(|key| order(key));
    keys.into_iter()
        .map(|key| Setting {
            value: match stack.find(&key) {
                Some(_) if is_secret(&key) => mask(config, &key),
                Some(found) => value(&found),
                None => String::new(),
            },
            source: stack.origin(&key).to_string(),
            key,
        })
        .collect()
}

/// A value as TOML would write it.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("\"{c}\""),
        Value::Bool(_, yes) => yes.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
            (Some(n), _, _) => n.to_string(),
            (None, Some(n), _) => n.to_string(),
            (None, None, Some(n)) => format!("{n:e}"),
            (None, None, None) => "a number".to_owned(),
        },
        Value::Empty(..) => "nothing".to_owned(),
        Value::Dict(..) => "a section".to_owned(),
        Value::Array(_, items) => {
            format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", "))
        }
    }
}

fn mask(config: &Config, key: &str) -> String {
    let is_there = match key {
        "llm.api_key" => config.llm.api_key.get().is_some(),
        "oauth2.admin_password" => config.oauth2.admin_password.get().is_some(),
        "store.url" => config.store.url.get().is_some(),
        // a key of a table that the operator writes
        _ => true,
    };
    if is_there { "\"***\"".to_owned() } else { "\"\"".to_owned() }
}

/// The position of a key in `mgx.toml`.
fn order(key: &str) -> (usize, usize) {
    let Some((section, name)) = key.rsplit_once('.') else {
        return (0, EMBEDDED.find(&format!("\n{key} =")).unwrap_or(0));
    };
    match EMBEDDED.find(&format!("\n[{section}]")) {
        Some(start) => (start, EMBEDDED[start..].find(&format!("\n{name} =")).unwrap_or(0)),
        // a section that the operator has added: beside the one that it belongs to
        None => order(section),
    }
}

/// The reference page of every setting, made of `mgx.toml` and its comments.
pub fn markdown() -> String {
    let document: DocumentMut = EMBEDDED.parse().expect("the built-in file is TOML: every start reads it");
    let mut page = String::from(
        "# Configuration\n\n\
         This page is made by `mgx config --markdown` from [`mgx.toml`](../mgx.toml), which is built into the program \
         and holds the defaults. A test fails if the page is out of date.\n\n\
         The defaults are overridden by, in this order: the operator's file (`--config PATH`, else `MGX_CONFIG`, else \
         `./mgx.toml`, else `/etc/mgx/mgx.toml`), the older variables at the end of this page, `MGX_…` variables, and \
         flags of the command line. `mgx config` prints every value with its source. A wrong setting ends every \
         command with exit code 78 and one line for each problem, before any socket or store is opened.\n\n\
         Sizes are written `\"512MiB\"` or `\"2g\"` (1k = 1024 bytes), times `\"250ms\"`, `\"30s\"`, `\"5m\"`, \
         `\"2h\"` or `\"7d\"`.\n",
    );
    let mut top = Vec::new();
    let mut sections = String::new();
    for (name, item) in document.iter() {
        match item {
            Item::Table(table) => {
                let comment = comment(table.decor().prefix().and_then(|prefix| prefix.as_str()));
                write!(sections, "\n## `[{name}]`\n\n{comment}\n").expect("a String takes it");
                if table.iter().any(|(_, item)| !item.is_table()) {
                    sections.extend(["\n", HEAD]);
                }
                for (key, item) in table.iter().filter(|(_, item)| !item.is_table()) {
                    let about = table.key(key).and_then(|key| key.leaf_decor().prefix()?.as_str());
                    sections.push_str(&row(&format!("{name}.{key}"), item, about));
                }
                for (key, inner) in table.iter().filter_map(|(key, item)| Some((key, item.as_table()?))) {
                    let about = inner.decor().prefix().and_then(|prefix| prefix.as_str());
                    write!(sections, "\n### `[{name}.{key}]`\n\n{}\n", self::comment(about))
                        .expect("a String takes it");
                }
            }
            item => {
                let about = document.key(name).and_then(|key| key.leaf_decor().prefix()?.as_str());
                // the heading of the file ends with an empty line
                let about = about.map(|about| about.rsplit("\n\n").next().unwrap_or(about));
                top.push(row(name, item, about));
            }
        }
    }
    page.extend(["\n", HEAD, &top.concat(), &sections]);
    page.push_str(
        "\n## Older names\n\nThese variables are read too. An `MGX_…` variable overrides them.\n\n",
    );
    page.push_str("| variable | key |\n|---|---|\n");
    for (name, key) in ALIASES {
        writeln!(page, "| `{name}` | `{key}` |").expect("a String takes it");
    }
    page.push_str(
        "\nVariables `LANGFUSE_…` have no effect. If one is set, the server warns of it at its start.\n\n\
         `MGX_URL` and `MGX_TOKEN` name the server that the command line speaks to, and the token for it. By default \
         that is the server of these settings. [client.md](client.md#the-command-line) says which token is sent where.\n",
    );
    page
}

const HEAD: &str = "| key | default | variable | meaning |\n|---|---|---|---|\n";

fn row(key: &str, item: &Item, about: Option<&str>) -> String {
    let variable = format!("MGX_{}", key.to_uppercase().replace('.', "__"));
    let default = item.as_value().map(|value| value.to_string().trim().to_owned()).unwrap_or_default();
    format!("| `{key}` | `{default}` | `{variable}` | {} |\n", comment(about).replace('|', "\\|"))
}

fn comment(text: Option<&str>) -> String {
    let lines = text.unwrap_or_default().lines().filter_map(|line| line.trim().strip_prefix('#'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}
