//! Checks that need more than one value: paths, secrets, and values that contradict each other.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mgx_apps::Language;
use mgx_llm::{PRESETS, Preset};
use mgx_oauth2::{ADMIN, Issuer, PasswordRules};
use mgx_protocol::quantity::show_size;
use mgx_runtimes::OciRuntime;
use secrecy::ExposeSecret;

use super::problem::What;
use super::sections::Workspaces;
use super::{Amount, Config, RuntimeName, Secret};
use crate::private_file;

/// The largest key file that is read, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Gives every empty path its default, and makes all paths absolute.
pub(super) fn fill_in(config: &mut Config, dir: &Path) {
    let data = dir.join(&config.server.data_dir);
    let default = |path: &mut PathBuf, default: &Path| {
        *path = if path.as_os_str().is_empty() { default.to_owned() } else { dir.join(&*path) };
    };
    default(&mut config.store.path, &data.join("mgx.db"));
    default(&mut config.workspaces.root, &data.join("workspaces"));
    let root = config.workspaces.root.clone();
    default(&mut config.workspaces.host_root, &root);
    config.server.data_dir = data;
    if !config.agent.runner.as_os_str().is_empty() {
        config.agent.runner = dir.join(&config.agent.runner);
    }
}

/// Checks the settings, and reads the key file.
pub(super) fn check(config: &mut Config) -> Vec<(String, What)> {
    let mut problems = Vec::new();
    let mut report = |key: &str, what: Result<(), What>| {
        problems.extend(what.err().map(|what| (key.to_owned(), what)));
    };
    let agent = &config.agent;
    report(
        "agent.max_memory",
        at_least("agent.memory", agent.memory.bytes(), agent.max_memory.bytes(), show_size),
    );
    report(
        "agent.max_cpu_quota",
        at_least("agent.cpu_quota", agent.cpu_quota.get(), agent.max_cpu_quota.get(), |n| n.to_string()),
    );
    report(
        "agent.max_timeout",
        at_least("agent.timeout", agent.timeout.seconds().into(), agent.max_timeout.seconds().into(), |s| {
            format!("{s}s")
        }),
    );
    report("pool.max", at_least("pool.min", config.pool.min.get(), config.pool.max.get(), |n| n.to_string()));
    for (key, what) in quotas(config) {
        report(key, what);
    }
    let queue = &config.queue;
    report(
        "queue.max_ttl",
        at_least("queue.ttl", queue.ttl.seconds().into(), queue.max_ttl.seconds().into(), |s| {
            format!("{s}s")
        }),
    );
    for (key, limit) in [
        ("llm.max_cost_per_session", config.llm.max_cost_per_session),
        ("llm.max_cost_per_job", config.llm.max_cost_per_job),
        ("llm.max_cost_per_user_per_day", config.llm.max_cost_per_user_per_day),
    ] {
        report(key, priced(config, limit));
    }
    report("isolation.agent", isolated(config.runtime, config.isolation.agent));
    report("agent.image", image(&agent.image));
    report("server.data_dir", directory(&config.server.data_dir));
    report("workspaces.root", directory(&config.workspaces.root));
    report("workspaces.owner", owner(&config.workspaces.owner));
    report("docker.host", url(&config.docker.host, &["unix://", "tcp://", "http://"]));
    report("podman.host", url(&config.podman.host, &["unix://"]));
    report("llm.base_url", url(&config.llm.base_url, &["http://", "https://"]));
    report("server.advertise", url(&config.server.advertise, &["http://", "https://"]));
    report("server.roles", roles(config));
    report("store.url", server(&config.store.url));
    report("store.database", database(&config.store.database));
    report("log.level", level(&config.log.level));
    report("oauth2.public_url", origin(&config.oauth2.public_url));
    report("oauth2.admin_password", password(&config.oauth2.admin_password));
    if let Err(error) = config.agents.team(Language::En) {
        let text = error.to_string();
        let (key, rule) = text.split_once(": ").unwrap_or(("agents", &text));
        report(key, Err(What::Rule(rule.to_owned())));
    }
    if config.llm.api_key_file.as_os_str().is_empty() {
        report("llm.api_key", plain(&config.llm.api_key));
    } else if config.llm.api_key.get().is_some() {
        report("llm.api_key_file", Err(What::Conflict("llm.api_key is given too; keep one of them".into())));
    } else {
        let read = key_file(&config.llm.api_key_file).and_then(|key| plain(&key).map(|()| key));
        match read {
            Ok(key) => config.llm.api_key = key,
            Err(what) => report("llm.api_key_file", Err(what)),
        }
    }
    report("llm.ca_file", readable(&config.llm.ca_file));
    for (name, provider) in &mut config.llm.providers {
        let mut report = |key: &str, checked: Result<(), What>| {
            problems.extend(checked.err().map(|what| (format!("llm.providers.{name}.{key}"), what)));
        };
        report("preset", preset(&provider.preset));
        let has_address = Preset::named(&provider.preset).is_some_and(|preset| !preset.base_url.is_empty());
        if !(has_address && provider.base_url.is_empty()) {
            report("base_url", required_url(&provider.base_url));
        }
        report("ca_file", readable(&provider.ca_file));
        report("api_key", plain(&provider.api_key));
        if !provider.api_key_file.as_os_str().is_empty() {
            match key_file(&provider.api_key_file).and_then(|key| plain(&key).map(|()| key)) {
                Ok(key) => provider.api_key = key,
                Err(what) => report("api_key_file", Err(what)),
            }
        }
    }
    problems
}

fn preset(name: &str) -> Result<(), What> {
    if name.is_empty() || Preset::named(name).is_some() {
        return Ok(());
    }
    let names = PRESETS.map(|preset| preset.name).join(", ");
    Err(What::Rule(format!("there is no preset {name:?}; there are {names}")))
}

/// The address of a provider that has no preset with one.
fn required_url(address: &str) -> Result<(), What> {
    if address.is_empty() {
        return Err(What::Rule("the address of the API is missing".to_owned()));
    }
    url(address, &["http://", "https://"])
}

/// A file that can be read, or none.
fn readable(file: &Path) -> Result<(), What> {
    if file.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::read(file)
        .map(drop)
        .map_err(|error| What::Rule(format!("{} cannot be read: {error}", file.display())))
}

/// A job with the default limits must fit into every quota.
fn quotas(config: &Config) -> Vec<(&'static str, Result<(), What>)> {
    let (agent, quotas) = (&config.agent, &config.quotas);
    let mut all = Vec::new();
    for (key, memory) in [
        ("quotas.host_memory", quotas.host_memory),
        ("quotas.user_memory", quotas.user_memory),
        ("quotas.session_memory", quotas.session_memory),
    ] {
        all.push((key, at_least("agent.memory", agent.memory.bytes(), memory.bytes(), show_size)));
    }
    for (key, quota) in [
        ("quotas.host_cpu_quota", quotas.host_cpu_quota),
        ("quotas.user_cpu_quota", quotas.user_cpu_quota),
        ("quotas.session_cpu_quota", quotas.session_cpu_quota),
    ] {
        let needed = agent.cpu_quota.get();
        all.push((key, at_least("agent.cpu_quota", needed, quota.get(), |n| n.to_string())));
    }
    for (key, pids) in [
        ("quotas.host_pids", quotas.host_pids),
        ("quotas.user_pids", quotas.user_pids),
        ("quotas.session_pids", quotas.session_pids),
    ] {
        all.push((key, at_least("agent.pids", agent.pids.get(), pids.get(), |n| n.to_string())));
    }
    all
}

/// An OCI runtime needs a container engine.
fn isolated(runtime: RuntimeName, wanted: OciRuntime) -> Result<(), What> {
    match (wanted.name(), runtime) {
        (Some(_), RuntimeName::Process | RuntimeName::Null) => {
            Err(What::Conflict(format!("the runtime {:?} has no OCI runtimes", runtime.name())))
        }
        (None, _)
        | (
            Some(_),
            RuntimeName::Docker | RuntimeName::PoolDocker | RuntimeName::Podman | RuntimeName::PoolPodman,
        ) => Ok(()),
    }
}

fn at_least(key: &str, needed: u64, cap: u64, show: impl Fn(u64) -> String) -> Result<(), What> {
    if cap >= needed {
        return Ok(());
    }
    Err(What::Conflict(format!("{} is less than the {} of {key}", show(cap), show(needed))))
}

/// A limit on costs needs the price of every model that is named.
fn priced(config: &Config, limit: Amount) -> Result<(), What> {
    let llm = &config.llm;
    if limit.micros() == 0 {
        return Ok(());
    }
    let mut models = llm.models.iter().chain([&config.agents.default_model]);
    match models.find(|model| !llm.prices.contains_key(*model)) {
        Some(model) => Err(What::Conflict(format!("llm.prices has no price for the model {model:?}"))),
        None => Ok(()),
    }
}

fn image(name: &str) -> Result<(), What> {
    let letters = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if (1..=255).contains(&name.len()) && name.chars().all(letters) && !name.starts_with(['-', '/']) {
        return Ok(());
    }
    Err(value(name, "\"mgx-agent\", \"mgx-base\" or the name of an image such as \"team/agent:1\""))
}

/// A user and a group of the host; nothing leaves both to the engine.
fn owner(text: &str) -> Result<(), What> {
    let is_user = Workspaces::ids(text).is_some_and(|(uid, gid)| uid > 0 && gid > 0);
    if text.is_empty() || is_user {
        return Ok(());
    }
    Err(value(
        text,
        "empty, or the numbers of a user and of a group that are not root's, such as \"175537:175537\"",
    ))
}

/// A directory that exists must not be a link, nor writable by everyone.
fn directory(path: &Path) -> Result<(), What> {
    let refuse = |why: &str| Err(What::UnsafePath(format!("{} {why}", path.display())));
    if path.components().count() < 2 {
        return refuse("is the root of the file system; name a directory of its own");
    }
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    match found {
        found if found.is_symlink() => refuse("is a symbolic link; name the directory itself"),
        found if !found.is_dir() => refuse("is not a directory"),
        found if found.mode() & 0o002 != 0 => {
            refuse("is writable by everyone; remove that permission (chmod o-w)")
        }
        _ => Ok(()),
    }
}

fn url(text: &str, schemes: &[&str]) -> Result<(), What> {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    if text.is_empty() || rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)) {
        return Ok(());
    }
    Err(value(text, &format!("empty, or an address that begins with {}", schemes.join(" or "))))
}

fn roles(config: &Config) -> Result<(), What> {
    let roles = config.server.roles;
    if config.is_shared() || (roles.api && roles.scheduler) || roles.are_the_providers_alone() {
        return Ok(());
    }
    let alone = "with the embedded store one process answers and schedules, or is the OAuth 2 provider alone; several need store.url";
    Err(What::Conflict(alone.into()))
}

fn server(url: &Secret) -> Result<(), What> {
    let schemes = ["mongodb://", "mongodb+srv://"];
    let is_one = |url: &str| {
        schemes.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
    };
    match url.get() {
        Some(url) if !is_one(url.expose_secret()) => Err(What::Value {
            got: "a secret".to_owned(),
            allowed: format!("empty, or an address that begins with {}", schemes.join(" or ")),
        }),
        Some(_) | None => Ok(()),
    }
}

/// The name of a database: a subset of what MongoDB allows.
fn database(name: &str) -> Result<(), What> {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=63).contains(&name.len())
        && name.chars().all(letters)
        && !["admin", "local", "config"].contains(&name)
    {
        return Ok(());
    }
    Err(value(name, "1 to 63 letters, digits, _ and -, and none of the server's own databases"))
}

fn origin(text: &str) -> Result<(), What> {
    if text.is_empty() || format!("{text}/oauth2").parse::<Issuer>().is_ok() {
        return Ok(());
    }
    let rule = "empty, or an origin as browsers write it: https://host[:port] (http:// without TLS) with no path, no slash at \
                its end, and no port that the scheme has by itself";
    let meant = reqwest::Url::parse(text)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    match meant.map(|url| url.origin().ascii_serialization()) {
        Some(origin) => Err(value(text, &format!("{rule}; write \"{origin}\""))),
        None => Err(value(text, rule)),
    }
}

fn password(secret: &Secret) -> Result<(), What> {
    let Some(password) = secret.get() else { return Ok(()) };
    PasswordRules::default()
        .check(password.expose_secret(), ADMIN)
        .map_err(|weakness| What::WeakSecret(weakness.to_string()))
}

fn level(text: &str) -> Result<(), What> {
    let known = |level: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&level);
    let part = |part: &str| {
        part.rsplit_once('=').map_or(known(part), |(name, level)| !name.is_empty() && known(level))
    };
    if text.split(',').all(part) {
        return Ok(());
    }
    Err(value(text, "error, warn, info, debug or trace, or per part, such as \"info,mgx_scheduler=debug\""))
}

fn key_file(path: &Path) -> Result<Secret, What> {
    let weak = |why: String| What::WeakSecret(format!("{} {why}", path.display()));
    let found = path.metadata().map_err(|error| weak(format!("cannot be read: {error}")))?;
    if !found.is_file() || found.len() > KEY_FILE_BYTES_MAX {
        return Err(weak("is not a small file".into()));
    }
    if let Some(why) = private_file::exposure(&found) {
        return Err(weak(why));
    }
    let text = std::fs::read_to_string(path).map_err(|error| weak(format!("cannot be read: {error}")))?;
    let key = Secret::new(&text);
    if key.get().is_none() { Err(weak("is empty".into())) } else { Ok(key) }
}

/// Why the operator's file must not hold a secret, if others can read it.
pub(super) fn exposure(path: &Path) -> Option<String> {
    private_file::exposure(&path.metadata().ok()?).map(|why| format!("this file {why}"))
}

fn plain(key: &Secret) -> Result<(), What> {
    if key.is_plain() {
        return Ok(());
    }
    Err(What::WeakSecret("the key has characters in it that no key has".into()))
}

fn value(got: &str, allowed: &str) -> What {
    What::Value { got: format!("{got:?}"), allowed: allowed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_browsers_write_otherwise_is_refused_with_the_right_one() {
        for good in ["", "http://h", "https://mgx.example.org", "https://h:8443", "http://127.0.0.1:8765"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for (wrong, meant) in [
            ("http://h:80", "http://h"),
            ("https://h:443", "https://h"),
            ("https://h/", "https://h"),
            ("https://h:8443/mgx", "https://h:8443"),
            ("HTTPS://H", "https://h"),
            ("http://user@h", "http://h"),
        ] {
            let Err(What::Value { allowed, .. }) = origin(wrong) else { panic!("{wrong}") };
            assert!(allowed.ends_with(&format!("write \"{meant}\"")), "{wrong}: {allowed}");
        }
        for wrong in ["h", "h:8765", "ftp://h", "//h", "http://"] {
            let Err(What::Value { allowed, .. }) = origin(wrong) else { panic!("{wrong}") };
            assert!(!allowed.contains("write \""), "{wrong}: {allowed}");
        }
    }
}
