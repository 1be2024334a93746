//! A bad configuration is refused with one line for each problem, and every value of a good one has its source.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use mgx::config::{self, Inputs, Loaded, Problems};
use tempfile::TempDir;

/// A working directory with an `mgx.toml` in it.
fn inputs_of(toml: &str) -> (TempDir, Inputs) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("mgx.toml"), toml).unwrap();
    let inputs = Inputs { dir: dir.path().to_owned(), ..Inputs::default() };
    (dir, inputs)
}

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn refusal(dir: &TempDir, result: Result<Loaded, Problems>) -> String {
    let problems = result.expect_err("it must be refused");
    problems.to_string().replace(&dir.path().display().to_string(), "DIR")
}

fn refused(toml: &str) -> String {
    let (dir, inputs) = inputs_of(toml);
    let refusal = refusal(&dir, config::load(&inputs));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing has been opened or made");
    refusal
}

fn refused_env(pairs: &[(&str, &str)]) -> String {
    let (dir, inputs) = inputs_of("");
    refusal(&dir, config::load(&Inputs { env: env(pairs), ..inputs }))
}

fn source(loaded: &Loaded, key: &str) -> (String, String) {
    let setting = loaded.settings().iter().find(|setting| setting.key == key).expect("the key is listed");
    (setting.value.clone(), setting.source.clone())
}

#[test]
fn a_file_that_is_named_must_exist() {
    let (dir, inputs) = inputs_of("");
    let inputs = Inputs { file: Some(dir.path().join("other.toml")), ..inputs };
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @r"DIR/other.toml: cannot read the file: No such file or directory (os error 2)");
}

#[test]
fn bad_toml_is_reported_with_its_position() {
    insta::assert_snapshot!(refused("[agent]\nmemory = 2g\n"), @r"DIR/mgx.toml:2:11: not TOML: expected newline, `#`");
    insta::assert_snapshot!(refused("[agent\n"), @r"DIR/mgx.toml:1:7: not TOML: invalid table header, expected `.`, `]`");
    insta::assert_snapshot!(refused("runtime = \"docker\"\nruntime = \"docker\"\n"), @r"DIR/mgx.toml:2:1: not TOML: duplicate key `runtime` in document root");
}

#[test]
fn an_unknown_key_comes_with_the_nearest_known_one() {
    insta::assert_snapshot!(refused("[agent]\nmemmory = \"2g\"\n\n[scheduler]\nmax_runing = 2\n"), @r"
    DIR/mgx.toml:2:1: agent.memmory: unknown key; did you mean agent.memory?
    DIR/mgx.toml:5:1: scheduler.max_runing: unknown key; did you mean scheduler.max_running?
    ");
    insta::assert_snapshot!(refused("[agnet]\nmemory = \"2g\"\n"), @r"DIR/mgx.toml:2:1: agnet.memory: unknown key; did you mean agent.memory?");
    insta::assert_snapshot!(refused("listen = \"127.0.0.1:1\"\n"), @r"DIR/mgx.toml:1:1: listen: unknown key; did you mean server.listen?");
    insta::assert_snapshot!(refused("[agnet]\n"), @r"DIR/mgx.toml:1:2: agnet: unknown key; did you mean agent?");
    insta::assert_snapshot!(refused("[agents.roles.engineer]\nmodle = \"x\"\n"), @r"DIR/mgx.toml:2:1: agents.roles.engineer.modle: unknown key; did you mean agents.roles.engineer.model?");
    insta::assert_snapshot!(refused("[agents.roles.barber]\nmodel = \"x\"\n"), @r"DIR/mgx.toml:1:15: agents.roles.barber: there is no such role; there are router, product_manager, architect, project_manager, engineer, qa");
    insta::assert_snapshot!(refused("[quantum]\nflux = 1\n"), @r"DIR/mgx.toml:2:1: quantum.flux: unknown key; `mgx config --default` lists every key");
    insta::assert_snapshot!(refused_env(&[("MGX_AGENT__MEMORI", "2g")]), @r"env MGX_AGENT__MEMORI: agent.memori: unknown key; did you mean agent.memory?");
}

#[test]
fn numbers_out_of_range_are_refused_all_at_once() {
    insta::assert_snapshot!(refused("[scheduler]\nmax_running = 0\nstart_tries = 1e99\n[queue]\nmax_queued = -1\n"), @r"
    DIR/mgx.toml:2:1: scheduler.max_running: got 0, allowed: a whole number from 1 to 10000
    DIR/mgx.toml:3:1: scheduler.start_tries: got 1e99, allowed: a whole number from 1 to 10
    DIR/mgx.toml:5:1: queue.max_queued: got -1, allowed: a whole number from 1 to 10000000
    ");
}

#[test]
fn times_sizes_ports_and_names_come_with_their_allowed_values() {
    let toml = "runtime = \"dokcer\"\n[server]\nlisten = \"127.0.0.1:70000\"\n[agent]\ntimeout = \"soon\"\nmemory = \"2x\"\n[log]\nformat = \"xml\"\nlevel = \"loud\"\n";
    insta::assert_snapshot!(refused(toml), @r#"
    DIR/mgx.toml:1:1: runtime: got "dokcer", allowed: "docker", "pool:docker", "podman", "pool:podman", "process", "null"
    DIR/mgx.toml:3:1: server.listen: got "127.0.0.1:70000", allowed: an address and a port from 0 to 65535, such as "127.0.0.1:8765"
    DIR/mgx.toml:5:1: agent.timeout: got "soon", allowed: a time from 1s to 7d, such as "250ms", "30s" or "5m"
    DIR/mgx.toml:6:1: agent.memory: got "2x", allowed: a size from 64MiB to 1TiB, such as "512MiB" or "2g"
    DIR/mgx.toml:8:1: log.format: got "xml", allowed: "text", "json"
    "#);
    insta::assert_snapshot!(refused("[agent]\ntimeout = 30\nimage = \"a b\"\n[log]\nlevel = true\n"), @r#"
    DIR/mgx.toml:2:1: agent.timeout: got 30, allowed: a time from 1s to 7d, such as "250ms", "30s" or "5m"
    DIR/mgx.toml:5:1: log.level: got true, allowed: a string
    "#);
    insta::assert_snapshot!(refused("agent = 3\n"), @r"DIR/mgx.toml:1:1: agent: got 3, allowed: a section");
    insta::assert_snapshot!(refused("[log]\nlevel = \"loud\"\n[llm]\nbase_url = \"ftp://x\"\n[docker]\nhost = \"ssh://x\"\n"), @r#"
    DIR/mgx.toml:2:1: log.level: got "loud", allowed: error, warn, info, debug or trace, or per part, such as "info,mgx_scheduler=debug"
    DIR/mgx.toml:4:1: llm.base_url: got "ftp://x", allowed: empty, or an address that begins with http:// or https://
    DIR/mgx.toml:6:1: docker.host: got "ssh://x", allowed: empty, or an address that begins with unix:// or tcp:// or http://
    "#);
}

#[test]
fn unknown_roles_are_refused() {
    let roles = |roles: &str| refused(&format!("[server]\nroles = \"{roles}\"\n"));
    insta::assert_snapshot!(roles("api,gateway"), @r#"DIR/mgx.toml:2:1: server.roles: got "api,gateway", allowed: one or more of "api", "scheduler" and "oauth2", with commas between"#);
    insta::assert_snapshot!(roles(""), @r#"DIR/mgx.toml:2:1: server.roles: got "", allowed: one or more of "api", "scheduler" and "oauth2", with commas between"#);
    insta::assert_snapshot!(roles("api"), @"DIR/mgx.toml:2:1: server.roles: conflict: with the embedded store one process answers and schedules, or is the OAuth 2 provider alone; several need store.url");
    let url = "mongodb://127.0.0.1";
    for (roles, store) in [("oauth2, api", url), ("scheduler", url), ("oauth2", ""), ("scheduler,api", "")] {
        let (_dir, inputs) = inputs_of(&format!("server.roles = \"{roles}\"\nstore.url = \"{store}\"\n"));
        let found = config::load(&inputs).unwrap().config.server.roles;
        let has = |role| roles.contains(role);
        assert_eq!((found.api, found.scheduler, found.oauth2), (has("api"), has("scheduler"), has("oauth2")));
    }
}

#[test]
fn the_environment_is_checked_like_a_file() {
    insta::assert_snapshot!(refused_env(&[("MGX_SCHEDULER__MAX_RUNNING", "0"), ("MGX_AGENT__TIMEOUT", "soon")]), @r#"
    env MGX_AGENT__TIMEOUT: agent.timeout: got "soon", allowed: a time from 1s to 7d, such as "250ms", "30s" or "5m"
    env MGX_SCHEDULER__MAX_RUNNING: scheduler.max_running: got 0, allowed: a whole number from 1 to 10000
    "#);
    insta::assert_snapshot!(refused_env(&[("AGENT_CONTAINER_MEMORY_LIMIT", "2x"), ("AGENT_TASK_TIMEOUT_SECONDS", "0")]), @r#"
    env AGENT_CONTAINER_MEMORY_LIMIT: agent.memory: got "2x", allowed: a size from 64MiB to 1TiB, such as "512MiB" or "2g"
    env AGENT_TASK_TIMEOUT_SECONDS: agent.timeout: got "0s", allowed: a time from 1s to 7d, such as "250ms", "30s" or "5m"
    "#);
    let (dir, inputs) = inputs_of("");
    let bad = vec![(OsString::from("MGX_AGENT__IMAGE"), OsString::from_vec(vec![b'a', 0xff]))];
    insta::assert_snapshot!(refusal(&dir, config::load(&Inputs { env: bad, ..inputs })), @r"env MGX_AGENT__IMAGE: agent.image: got bytes that are not UTF-8, allowed: UTF-8 text");
}

#[test]
fn a_cap_below_what_one_job_needs_is_a_conflict() {
    let toml = "[agent]\nmax_memory = \"1g\"\nmax_cpu_quota = 50000\nmax_timeout = \"60s\"\n";
    insta::assert_snapshot!(refused(toml), @r"
    DIR/mgx.toml:2:1: agent.max_memory: conflict: 1GiB is less than the 2GiB of agent.memory
    DIR/mgx.toml:3:1: agent.max_cpu_quota: conflict: 50000 is less than the 100000 of agent.cpu_quota
    DIR/mgx.toml:4:1: agent.max_timeout: conflict: 60s is less than the 1800s of agent.timeout
    ");
}

#[test]
fn keys_that_the_operator_chooses_may_contain_dots() {
    let (dir, inputs) = inputs_of(
        "[weights]\nann = 3\n\n[llm.prices.\"gpt-4.1\"]\ninput_per_million = 2\noutput_per_million = 8.5\n",
    );
    let inputs = Inputs { env: env(&[("MGX_WEIGHTS__BOB", "2")]), ..inputs };
    let loaded = config::load(&inputs).unwrap();
    let at = |line| format!("{}/mgx.toml:{line}:1", dir.path().display());
    assert_eq!(source(&loaded, "weights.ann"), ("3".into(), at(2)));
    assert_eq!(source(&loaded, "weights.bob"), ("2".into(), "env MGX_WEIGHTS__BOB".into()));
    assert_eq!(source(&loaded, "llm.prices.gpt-4.1.output_per_million").1, at(6));
    let price = loaded.config.llm.prices["gpt-4.1"];
    assert_eq!((price.input_per_million.micros(), price.output_per_million.micros()), (2_000_000, 8_500_000));
    let toml = "[llm.prices.\"gpt-4.1\"]\ninput_per_million = -1\noutput_per_million = 8\n";
    insta::assert_snapshot!(refused(toml), @r#"DIR/mgx.toml:2:1: llm.prices.gpt-4.1.input_per_million: got -1, allowed: an amount from 0 to 1000000000 with up to 6 decimals, such as 2.5"#);
    insta::assert_snapshot!(refused("[llm.prices.\"gpt-4.1\"]\ninput_per_million = 1\n"), @r#"DIR/mgx.toml:1:13: llm.prices.gpt-4.1: output_per_million is missing"#);
    insta::assert_snapshot!(refused("[llm.prices.\"gpt-4.1\"]\ninput_per_milion = 1\n"), @r#"DIR/mgx.toml:2:1: llm.prices.gpt-4.1.input_per_milion: unknown key; did you mean llm.prices.gpt-4.1.input_per_million?"#);
    insta::assert_snapshot!(refused("[weights]\nann = 11\n"), @"DIR/mgx.toml:2:1: weights.ann: got 11, allowed: a whole number from 1 to 10");
    insta::assert_snapshot!(refused("[llm]\nmax_cost_per_session = \"cheap\"\n"), @r#"DIR/mgx.toml:2:1: llm.max_cost_per_session: got "cheap", allowed: an amount from 0 to 1000000000 with up to 6 decimals, such as 2.5"#);
}

#[test]
fn an_oci_runtime_that_the_runtime_cannot_use_is_refused() {
    insta::assert_snapshot!(refused("runtime = \"process\"\n[isolation]\nagent = \"runsc\"\n"), @r#"DIR/mgx.toml:3:1: isolation.agent: conflict: the runtime "process" has no OCI runtimes"#);
    insta::assert_snapshot!(refused("[isolation]\nagent = \"kata\"\n"), @r#"DIR/mgx.toml:2:1: isolation.agent: got "kata", allowed: "", "runc", "crun", "runsc""#);
}

#[test]
fn limits_that_contradict_each_other_are_conflicts() {
    let toml = "[agent]\nmemory = \"2g\"\nmax_memory = \"8g\"\n[quotas]\nsession_memory = \"1g\"\n";
    insta::assert_snapshot!(refused(toml), @r#"DIR/mgx.toml:5:1: quotas.session_memory: conflict: 1GiB is less than the 2GiB of agent.memory"#);
    insta::assert_snapshot!(refused("[queue]\nttl = \"2h\"\nmax_ttl = \"1h\"\n"), @r#"DIR/mgx.toml:3:1: queue.max_ttl: conflict: 3600s is less than the 7200s of queue.ttl"#);
    insta::assert_snapshot!(refused("[llm]\nmax_cost_per_session = 2.5\n"), @r#"DIR/mgx.toml:2:1: llm.max_cost_per_session: conflict: llm.prices has no price for the model "gpt-4.1""#);
    let toml = "[llm]\nmax_cost_per_session = 2.5\nmodels = [\"small\"]\n\
        [llm.prices.\"gpt-4.1\"]\ninput_per_million = 2\noutput_per_million = 8\n";
    insta::assert_snapshot!(refused(toml), @r#"DIR/mgx.toml:2:1: llm.max_cost_per_session: conflict: llm.prices has no price for the model "small""#);
    let (_dir, inputs) = inputs_of(&format!(
        "{toml}[llm.prices.small]\ninput_per_million = 0.1\noutput_per_million = 0\n[quotas]\nsession_memory = \"4g\"\n"
    ));
    config::load(&inputs)
        .expect("every model has a price, and the default job fits into the session's memory");
}

#[test]
fn workspaces_must_not_be_writable_by_everyone() {
    insta::assert_snapshot!(refused("[workspaces]\nroot = \"/\"\n"), @r"DIR/mgx.toml:2:1: workspaces.root: unsafe-path: / is the root of the file system; name a directory of its own");
    let (dir, inputs) = inputs_of("[workspaces]\nroot = \"w\"\n");
    let root = dir.path().join("w");
    symlink("/tmp", &root).unwrap();
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @r"DIR/mgx.toml:2:1: workspaces.root: unsafe-path: DIR/w is a symbolic link; name the directory itself");
    fs::remove_file(&root).unwrap();
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o777)).unwrap();
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @r"DIR/mgx.toml:2:1: workspaces.root: unsafe-path: DIR/w is writable by everyone; remove that permission (chmod o-w)");
    fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
    config::load(&inputs).expect("the same directory is accepted when only its owner can write to it");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let (dir, inputs) = inputs_of("[llm]\napi_key_file = \"DIR/key\"\n");
    let key = dir.path().join("key");
    let toml = format!("[llm]\napi_key_file = {:?}\n", key.display().to_string());
    fs::write(dir.path().join("mgx.toml"), toml).unwrap();
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @r"DIR/mgx.toml:2:1: llm.api_key_file: weak-secret: DIR/key cannot be read: No such file or directory (os error 2)");
    fs::write(&key, "sk-canary\n").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @r"DIR/mgx.toml:2:1: llm.api_key_file: weak-secret: DIR/key has mode 0644; only its owner may read it (chmod 600)");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let loaded = config::load(&inputs).expect("a key that only its owner can read is accepted");
    assert!(loaded.config.llm.api_key.get().is_some());
    let both = Inputs { env: env(&[("OPENAI_API_KEY", "sk-other")]), ..inputs.clone() };
    insta::assert_snapshot!(refusal(&dir, config::load(&both)), @r"DIR/mgx.toml:2:1: llm.api_key_file: conflict: llm.api_key is given too; keep one of them");
    fs::write(&key, " \n").unwrap();
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @r"DIR/mgx.toml:2:1: llm.api_key_file: weak-secret: DIR/key is empty");
}

#[test]
fn a_secret_in_a_configuration_that_others_can_read_is_refused() {
    let (dir, inputs) = inputs_of("[llm]\napi_key = \"sk-canary\"\n[oauth2]\nadmin_password = \"\"\n");
    let file = dir.path().join("mgx.toml");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(refusal(&dir, config::load(&inputs)), @"DIR/mgx.toml:2:1: llm.api_key: weak-secret: this file has mode 0644; only its owner may read it (chmod 600)");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    config::load(&inputs).expect("a file that only its owner can read may hold it");
}

#[test]
fn no_secret_is_printed_whether_valid_or_not() {
    for bad in ["canary with spaces", "canary\u{7}"] {
        let shown = refused_env(&[("OPENAI_API_KEY", bad)]);
        assert!(shown.contains("weak-secret") && !shown.contains("canary"), "{shown}");
    }
    let shown = refused("[llm]\napi_key = [\"canary\"]\n");
    assert!(!shown.contains("canary"), "{shown}");
    let (_dir, inputs) = inputs_of("");
    let loaded = config::load(&Inputs { env: env(&[("OPENAI_API_KEY", "canary")]), ..inputs }).unwrap();
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(source(&loaded, "llm.api_key"), ("\"***\"".into(), "env OPENAI_API_KEY".into()));
}

#[test]
fn every_value_has_its_source() {
    let (dir, inputs) = inputs_of("[agent]\npids = 64\nmemory = \"1g\"\ncpu_quota = 50000\n");
    let inputs = Inputs {
        env: env(&[
            ("AGENT_CONTAINER_MEMORY_LIMIT", "512m"),
            ("AGENT_CONTAINER_CPU_QUOTA", "20000"),
            ("MGX_AGENT__CPU_QUOTA", "30000"),
            ("AGENT_TASK_TIMEOUT_SECONDS", "60"),
            ("LANGFUSE_HOST", "http://x"),
            ("MONGODB_URL", "mongodb://x"),
        ]),
        flags: vec![("--data-dir".into(), "server.data_dir".into(), "d".into())],
        ..inputs
    };
    let loaded = config::load(&inputs).unwrap();
    let from = |key| {
        let (value, source) = source(&loaded, key);
        format!("{value} {source}").replace(&dir.path().display().to_string(), "DIR")
    };
    assert_eq!(from("agent.pids"), "64 DIR/mgx.toml:2:1");
    assert_eq!(from("agent.memory"), "\"512m\" env AGENT_CONTAINER_MEMORY_LIMIT");
    assert_eq!(from("agent.cpu_quota"), "30000 env MGX_AGENT__CPU_QUOTA");
    assert_eq!(from("agent.timeout"), "\"60s\" env AGENT_TASK_TIMEOUT_SECONDS");
    assert_eq!(from("agent.image"), "\"mgx-agent\" default");
    assert_eq!(from("server.data_dir"), "\"d\" flag --data-dir");
    assert_eq!(loaded.config.agent.memory.bytes(), 512 << 20);
    assert_eq!(loaded.config.workspaces.host_root, dir.path().join("d/workspaces"));
    assert_eq!(from("store.url"), "\"***\" env MONGODB_URL");
    assert_eq!(loaded.ignored, ["LANGFUSE_HOST"]);
}

#[test]
fn secrets_of_further_providers_are_never_shown() {
    let (dir, inputs) = inputs_of(
        "[llm]\nheaders = { \"X-Api-Key\" = \"canary-one\", \"X-Title\" = \"mine\" }\n\
         [llm.providers.local]\npreset = \"ollama\"\napi_key = \"canary-two\"\nheaders = { Authorization = \"canary-three\" }\n",
    );
    let file = dir.path().join("mgx.toml");
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let loaded = config::load(&inputs).unwrap();
    let shown = format!("{loaded:?}");
    let values: Vec<_> = loaded.settings().iter().map(|setting| setting.value.clone()).collect();
    assert!(!values.concat().contains("canary"), "{values:?}");
    assert_eq!(source(&loaded, "llm.headers.X-Title").0, "\"mine\"");
    assert!(!shown.contains("canary-two"), "{shown}");
    mode(0o644);
    let problems = config::load(&inputs).unwrap_err().to_string();
    assert!(!problems.contains("canary"), "{problems}");
    for key in
        ["llm.headers.X-Api-Key", "llm.providers.local.api_key", "llm.providers.local.headers.Authorization"]
    {
        assert!(problems.contains(key), "{problems}");
    }
}

#[test]
fn the_older_names_of_models_are_read_and_what_has_no_effect_is_reported() {
    let (_dir, inputs) = inputs_of("");
    let variables = [
        ("AGENT_DEFAULT_MODEL", "qwen-max"),
        ("AGENT_QA_MODEL", "qwen3"),
        ("AGENT_ENGINEER_TEMPERATURE", "0.7"),
        ("AGENT_MAX_ITERATIONS", "20"),
        ("AGENT_BOSS_MODEL", "qwen3"),
    ];
    let loaded = config::load(&Inputs { env: env(&variables), ..inputs }).unwrap();
    let agents = &loaded.config.agents;
    assert_eq!((agents.default_model.as_str(), agents.max_turns), ("qwen-max", 20));
    assert_eq!(agents.roles["qa"].model.as_deref(), Some("qwen3"));
    assert_eq!(agents.roles["engineer"].temperature, Some(0.7));
    assert_eq!(loaded.ignored, ["AGENT_BOSS_MODEL"]);
}

#[test]
fn the_built_in_file_is_a_valid_configuration() {
    let (_dir, inputs) = inputs_of("");
    let loaded = config::load(&inputs).unwrap();
    assert!(loaded.settings().iter().all(|setting| setting.source == "default"));
    assert_eq!(loaded.config.agent.timeout.seconds(), 1800);
    let (_dir, inputs) = inputs_of(config::EMBEDDED);
    config::load(&inputs).expect("and it may be copied as a whole");
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"))
        .unwrap_or_default();
    assert!(page == config::markdown(), "run: just docs (mgx config --markdown > docs/configuration.md)");
}
