//! The settings: the built-in `mgx.toml`, overridden by the operator's file, then by the environment, then by flags.
//!
//! No default stands in this code: `mgx.toml` has every key with its default and its meaning.

mod check;
mod home;
mod layer;
mod origin;
mod problem;
mod sections;
mod show;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use mgx_apps::TeamConfig;
use serde::Deserialize;

pub use origin::Origin;
pub use problem::{EXIT, Problem, Problems, What};
pub use sections::{
    Agent, Docker, History, Isolation, Kinds, Llm, LlmProvider, Log, LogFormat, ModelPrice, OAuth2, Podman,
    Pool, Queue, Quotas, Rate, Retention, RuntimeName, Scheduler, Server, Store, Streams, Workspaces,
};
pub use show::{Setting, markdown};
pub use values::{Amount, Roles, Secret, Whole};

use layer::{Environment, Layer, TomlFile, below, find, leaves, nest, remove};

/// The file that is built in.
pub const EMBEDDED: &str = include_str!("../../mgx.toml");

/// The operator's file, if no file is named and the working directory has none.
pub const SYSTEM_FILE: &str = "/etc/mgx/mgx.toml";

/// Settings whose values are never printed, besides those of `[llm.providers]` and secret headers.
const SECRETS: &[&str] = &["llm.api_key", "oauth2.admin_password", "store.url"];

/// Whether the value of a setting is never printed.
fn is_secret(key: &str) -> bool {
    let of_provider = key.strip_prefix("llm.providers.");
    let header = key
        .strip_prefix("llm.headers.")
        .or_else(|| of_provider?.split_once(".headers.").map(|(_, name)| name));
    SECRETS.contains(&key)
        || of_provider.is_some_and(|key| key.ends_with(".api_key"))
        || header.is_some_and(mgx_llm::is_secret_header)
}

/// Tables whose keys the operator chooses.
const OPEN_TABLES: &[&str] =
    &["weights", "llm.prices", "llm.providers", "llm.headers", "llm.body", "agents.roles"];

/// Every setting. `mgx.toml` says what each means, and its unit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is documented once, in mgx.toml")]
pub struct Config {
    pub runtime: RuntimeName,
    pub server: Server,
    pub store: Store,
    pub oauth2: OAuth2,
    pub docker: Docker,
    pub podman: Podman,
    pub isolation: Isolation,
    pub agent: Agent,
    pub pool: Pool,
    pub scheduler: Scheduler,
    pub weights: BTreeMap<String, Whole<1, 10>>,
    pub queue: Queue,
    pub rate: Rate,
    pub kinds: Kinds,
    pub quotas: Quotas,
    pub history: History,
    pub retention: Retention,
    pub streams: Streams,
    pub workspaces: Workspaces,
    pub llm: Llm,
    pub agents: TeamConfig,
    pub log: Log,
    /// `mgx up --give-up-jobs`; no key of the file.
    #[serde(skip)]
    pub gives_up_jobs_of_other_runtimes: bool,
}

impl Config {
    /// Whether several processes can share the store.
    pub fn is_shared(&self) -> bool {
        self.store.url.get().is_some()
    }

    /// The name of this process in the names of its files. Processes that share a store differ by their port.
    pub fn process(&self) -> String {
        if self.is_shared() { format!("mgx-{}", self.server.listen.port()) } else { "mgx".to_owned() }
    }

    /// The address at which a browser on this machine reaches the server.
    pub fn local_url(&self) -> String {
        local_url(self.server.listen)
    }

    /// The address at which browsers and programs reach the platform.
    pub fn public_url(&self) -> String {
        let url = &self.oauth2.public_url;
        if url.is_empty() { self.local_url() } else { url.clone() }
    }
}

/// The address at which a browser on this machine reaches a server that listens on `address`.
pub(crate) fn local_url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let localhost =
            if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(localhost);
    }
    let text = address.to_string();
    // browsers leave the default port out
    format!("http://{}", text.strip_suffix(":80").unwrap_or(&text))
}

/// The sources of the settings, as arguments: tests do not depend on the environment of their process.
#[derive(Debug, Default, Clone)]
pub struct Inputs {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// The working directory.
    pub dir: PathBuf,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// Flags that override a setting: the flag, the key, the value.
    pub flags: Vec<(String, String, String)>,
}

/// The settings, and where each comes from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, with every path absolute.
    pub config: Config,
    /// Variables that are set and have no effect.
    pub ignored: Vec<String>,
    /// Problems of variables that were left out, because the command can do without them.
    pub left_out: Vec<Problem>,
    /// The operator's file.
    pub file: Option<PathBuf>,
    settings: Vec<Setting>,
}

impl Inputs {
    /// The environment, the working directory and the flags of this process.
    ///
    /// # Errors
    /// There is no working directory.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String, String)>) -> std::io::Result<Self> {
        Ok(Self { file, dir: std::env::current_dir()?, env: std::env::vars_os().collect(), flags })
    }

    /// The operator's file, if there is one. A file that is named must exist.
    fn operators_file(&self) -> Option<PathBuf> {
        let named = self.env.iter().find(|(name, value)| name == "MGX_CONFIG" && !value.is_empty());
        let named = self.file.clone().or_else(|| named.map(|(_, path)| PathBuf::from(path)));
        let home = home::of(&self.env);
        let named = named.map(|path| home::expanded(&path, home.as_deref()).unwrap_or(path));
        let usual =
            || [self.dir.join("mgx.toml"), PathBuf::from(SYSTEM_FILE)].into_iter().find(|p| p.exists());
        named.or_else(usual)
    }
}

/// Reads and checks every setting. Opens no file but the operator's file and the key file, and no socket.
///
/// # Errors
/// Every problem, not only the first.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let alone = |problem| Problems(vec![problem]);
    let built_in = TomlFile::parse(Path::new("mgx.toml"), EMBEDDED).map_err(alone)?;
    let defaults = Layer { origin: Origin::Default, ..built_in.layer().map_err(alone)? };
    let file = inputs.operators_file().map(|path| TomlFile::open(&path)).transpose().map_err(alone)?;
    let environment = Environment::read(&inputs.env, &defaults.values);

    let mut layers = Vec::new();
    if let Some(file) = &file {
        layers.push(file.layer().map_err(alone)?);
    }
    layers.extend(environment.layers);
    layers.extend(inputs.flags.iter().map(|(flag, key, value)| Layer {
        origin: Origin::Flag(flag.clone()),
        values: nest(key, Value::from(value.clone())),
    }));

    let mut stack = Stack { figment: Figment::from(&defaults), defaults: defaults.values.clone(), file };
    let mut problems = environment.problems;
    for mut layer in layers {
        problems.extend(stack.unknown(&mut layer));
        stack.figment = stack.figment.merge(&layer);
    }
    let (mut config, wrong) = stack.extract();
    problems.extend(wrong);
    if let Some(config) = &mut config
        && problems.is_empty()
    {
        let wrong = home::expand(config, home::of(&inputs.env).as_deref());
        problems.extend(wrong.into_iter().map(|(key, what)| stack.problem(&key, what)));
        check::fill_in(config, &inputs.dir);
        let checked = check::check(config).into_iter().map(|(key, what)| stack.problem(&key, what));
        problems.extend(checked.filter(|problem| !is_of_another_engine(config.runtime, problem)));
        problems.extend(stack.exposed());
    }
    problems.sort_by_key(Problem::place);
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            settings: show::settings(&stack, &config),
            ignored: environment.ignored,
            left_out: Vec::new(),
            file: stack.file.map(|file| file.path),
            config,
        }),
        _ => Err(Problems(problems)),
    }
}

/// Whether a problem is that of a variable for an engine that the runtime does not use.
fn is_of_another_engine(runtime: RuntimeName, problem: &Problem) -> bool {
    let is_used = match problem.key.as_str() {
        "docker.host" => matches!(runtime, RuntimeName::Docker | RuntimeName::PoolDocker),
        "podman.host" => matches!(runtime, RuntimeName::Podman | RuntimeName::PoolPodman),
        _ => true,
    };
    !is_used && matches!(&problem.origin, Origin::Env(name) if !name.starts_with("MGX_"))
}

/// The merged layers.
#[derive(Debug)]
struct Stack {
    figment: Figment,
    defaults: Dict,
    file: Option<TomlFile>,
}

impl Stack {
    /// Removes the keys that do not exist from `layer`, and returns a problem for each.
    fn unknown(&self, layer: &mut Layer) -> Vec<Problem> {
        let known = leaves(&self.defaults);
        let wrong: Vec<String> =
            leaves(&layer.values).into_iter().filter(|key| !self.is_known(key)).collect();
        for key in &wrong {
            remove(&mut layer.values, key);
        }
        wrong
            .into_iter()
            .map(|key| Problem {
                origin: self.locate(&layer.origin, &key),
                what: What::Unknown { nearest: problem::nearest(&key, &known) },
                key,
            })
            .collect()
    }

    /// Whether there is a setting of this name. Keys of open tables are checked with their values.
    fn is_known(&self, key: &str) -> bool {
        find(&self.defaults, key).is_some()
            || OPEN_TABLES.iter().any(|table| below(key, table).is_some_and(|name| !name.is_empty()))
    }

    /// The value at `key`, of the last layer that has it.
    fn find(&self, key: &str) -> Option<Value> {
        let merged = self.figment.data().ok()?.remove(&Profile::Default)?;
        find(&merged, key).cloned()
    }

    /// The settings and their problems. A wrong value is replaced by the default, so that the others are checked too.
    fn extract(&mut self) -> (Option<Config>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut corrected = self.figment.clone();
        loop {
            let error = match corrected.extract::<Config>() {
                Ok(config) => return (Some(config), problems),
                Err(error) => error,
            };
            let key = error.path.join(".");
            let allowed = match &error.kind {
                Kind::InvalidType(_, expected)
                | Kind::InvalidValue(_, expected)
                | Kind::InvalidLength(_, expected) => expected.clone(),
                Kind::UnknownVariant(_, names) => {
                    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
                }
                Kind::UnknownField(_, names) => {
                    let parent =
                        key.rsplit_once('.').map_or_else(String::new, |(parent, _)| format!("{parent}."));
                    let known: Vec<String> = names.iter().map(|name| format!("{parent}{name}")).collect();
                    let what = What::Unknown { nearest: problem::nearest(&key, &known) };
                    // a section has no origin, but only the file has sections
                    let origin = match (self.origin(&key), &self.file) {
                        (Origin::Default, Some(file)) => file.origin(&key),
                        (origin, _) => origin,
                    };
                    problems.push(Problem { origin, key, what });
                    return (None, problems);
                }
                Kind::MissingField(name) => {
                    problems.push(self.problem(&key, What::Rule(format!("{name} is missing"))));
                    return (None, problems);
                }
                other => other.to_string(),
            };
            let allowed = match find(&self.defaults, &key) {
                Some(Value::Dict(..)) => "a section".to_owned(),
                _ if key == "server.listen" => LISTEN.to_owned(),
                _ => allowed,
            };
            let default = find(&self.defaults, &key).cloned();
            problems.push(self.problem(&key, What::Value { got: self.got(&key), allowed }));
            match default {
                Some(default) if problems.len() < 100 => corrected = corrected.merge((key.as_str(), default)),
                _ => return (None, problems),
            }
        }
    }

    /// The secrets in the operator's file, if others can read that file.
    fn exposed(&self) -> Vec<Problem> {
        // an address without a user name has no password
        let holds = |key: &str, text: &str| !text.is_empty() && (key != "store.url" || text.contains('@'));
        let is_there = |key: &str| {
            self.find(key).is_some_and(|value| value.as_str().is_some_and(|text| holds(key, text)))
        };
        let of_file = |key: &str| is_there(key) && matches!(self.origin(key), Origin::File { .. });
        let open = self.file.as_ref().and_then(|file| check::exposure(&file.path));
        let all = self.figment.extract().map_or_else(|_| Vec::new(), |all| leaves(&all));
        let keys = all.iter().filter(|key| open.is_some() && is_secret(key) && of_file(key));
        keys.map(|key| self.problem(key, What::WeakSecret(open.clone().unwrap_or_default()))).collect()
    }

    fn problem(&self, key: &str, what: What) -> Problem {
        Problem { origin: self.origin(key), key: key.to_owned(), what }
    }

    /// The value at `key` as it was written; secrets are masked.
    fn got(&self, key: &str) -> String {
        match self.find(key) {
            Some(_) if is_secret(key) => "a secret".to_owned(),
            Some(value) => show::value(&value),
            None => "nothing".to_owned(),
        }
    }

    /// The source of the value at `key`.
    fn origin(&self, key: &str) -> Origin {
        let metadata = self.find(key).and_then(|value| self.figment.get_metadata(value.tag()));
        let name = metadata.map_or("", |metadata| &*metadata.name);
        if let Some(name) = name.strip_prefix("env ") {
            Origin::Env(name.to_owned())
        } else if let Some(name) = name.strip_prefix("flag ") {
            Origin::Flag(name.to_owned())
        } else if name.is_empty() || name == "default" {
            Origin::Default
        } else {
            self.file.as_ref().map_or(Origin::Default, |file| file.origin(key))
        }
    }

    fn locate(&self, origin: &Origin, key: &str) -> Origin {
        match (origin, &self.file) {
            (Origin::File { .. }, Some(file)) => file.origin(key),
            (origin, _) => origin.clone(),
        }
    }
}

const LISTEN: &str = "an address and a port from 0 to 65535, such as \"127.0.0.1:8765\"";
