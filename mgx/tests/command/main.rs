//! The program as a user types it: exit codes, and what goes to standard output and standard error.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod machine;

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Runs `mgx` in a directory of its own, with nothing of this environment but the path.
fn mgx(dir: &TempDir, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mgx"));
    command.args(args).current_dir(dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
    command.envs(env.iter().copied()).output().unwrap()
}

fn dir_with_config(toml: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mgx.toml"), toml).unwrap();
    dir
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_bad_configuration_ends_every_command_before_it_begins() {
    let dir = dir_with_config("[scheduler]\nmax_running = 0\n[agent]\nmemmory = \"2g\"\n");
    let commands: [&[&str]; 7] =
        [&["up"], &["up", "--detach"], &["run", "x"], &["ps"], &["doctor"], &["config"], &["bench", "start"]];
    for args in commands {
        let output = mgx(&dir, args, &[]);
        assert_eq!(output.status.code(), Some(78), "{args:?}");
        assert_eq!(text(&output.stdout), "", "{args:?}");
        let stderr = text(&output.stderr).replace(&dir.path().display().to_string(), "DIR");
        assert!(stderr.contains("DIR/mgx.toml:2:1: scheduler.max_running: got 0"), "{stderr}");
        assert!(stderr.contains("did you mean agent.memory?"), "{stderr}");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mgx.toml"], "nothing was made");
}

#[test]
fn flags_and_variables_are_checked_like_the_file() {
    let dir = dir_with_config("");
    let output = mgx(&dir, &["--runtime", "quantum", "config"], &[]);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(text(&output.stderr), @r#"
    mgx: the configuration is wrong, nothing was started
    flag --runtime: runtime: got "quantum", allowed: "docker", "pool:docker", "podman", "pool:podman", "process", "null"
    "#);
    let output = mgx(&dir, &["serve", "--roles", "api,gateway"], &[]);
    assert_eq!(output.status.code(), Some(78));
    insta::assert_snapshot!(text(&output.stderr), @r#"
    mgx: the configuration is wrong, nothing was started
    flag --roles: server.roles: got "api,gateway", allowed: one or more of "api", "scheduler" and "oauth2", with commas between
    "#);
    let output =
        mgx(&dir, &["config", "--json"], &[("OPENAI_API_KEY", "sk-canary"), ("MGX_AGENT__PIDS", "99")]);
    assert!(output.status.success());
    let shown = text(&output.stdout);
    assert!(
        !shown.contains("canary") && shown.contains(r#""value":"99","source":"env MGX_AGENT__PIDS""#),
        "{shown}"
    );
    let settings = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert!(settings.count() > 20);
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let dir = dir_with_config("");
    for args in
        [&["run"][..], &["cancel", "x"], &["events", "../x"], &["run", "x", "--framework", "rails"], &["fly"]]
    {
        assert_eq!(mgx(&dir, args, &[]).status.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["version"], &["completions", "bash"], &["config", "--default"], &["down"]]
    {
        assert_eq!(mgx(&dir, args, &[]).status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_command_without_its_server_says_how_to_start_one() {
    let dir = dir_with_config("");
    let output = mgx(&dir, &["ps"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr).replace(&dir.path().display().to_string(), "DIR");
    insta::assert_snapshot!(stderr, @r"mgx: there is no token in DIR/data; start the server with `mgx up --detach`, or set MGX_TOKEN");
    // a port on which no server listens: it was free a moment ago
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let output = mgx(&dir, &["ps", "--url", &url], &[("MGX_TOKEN", "canary-token")]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr).replace(&port.to_string(), "PORT"), @r"mgx: no server answers at http://127.0.0.1:PORT; start it with `mgx up --detach`");
}

#[test]
fn doctor_checks_what_is_configured_and_nothing_else() {
    let dir = dir_with_config("docker.host = \"unix:///nowhere/docker.sock\"\n");
    let run = |args: &[&str]| {
        let output = mgx(&dir, args, &[]);
        (output.status.code(), text(&output.stdout))
    };
    let (code, shown) = run(&["doctor"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("FAIL  engine    unix:///nowhere/docker.sock does not answer"), "{shown}");
    for runtime in ["null", "process"] {
        let (_, shown) = run(&["--runtime", runtime, "doctor", "--json"]);
        let findings: Vec<serde_json::Value> =
            shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |check: &str| findings.iter().any(|finding| finding["check"] == check);
        assert!(of("runtime") && of("disk") && of("settings"), "{shown}");
        assert!(!of("engine") && !of("image") && !of("runc"), "{runtime} needs no engine: {shown}");
        let bad = findings.iter().filter(|finding| finding["verdict"] != "ok");
        assert!(
            bad.clone().count() > 0 && bad.clone().all(|finding| finding["remedy"].is_string()),
            "{shown}"
        );
    }
}

#[test]
fn a_duel_of_runtimes_without_an_engine_needs_no_engine() {
    let dir = dir_with_config("");
    let duel =
        ["bench", "duel", "process", "null", "--n", "2", "--burst", "3", "--json", "--html", "duel.html"];
    let beside = ["--beside", "echo '{\"first_event\": {\"p50\": 1e9}}'", "--beside-rounds", "1"];
    let key = ["--beside-key", "runtimes.process.burst.all.tti_ms.p50=first_event.p50"];
    let output = mgx(&dir, &[&duel[..], &beside, &key].concat(), &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for runtime in ["process", "null"] {
        for (mode, jobs) in [("poisson", 2), ("sequential", 2), ("staggered", 2), ("burst", 3)] {
            let all = &report["runtimes"][runtime][mode]["all"];
            assert_eq!((&all["n"], &all["errors"]), (&jobs.into(), &0.into()), "{runtime} {mode}: {report}");
            assert!(all["tti_ms"]["p99"].is_f64() && all["at_ms"]["removed"].is_f64(), "{report}");
        }
    }
    let compared = &report["beside"]["keys"]["runtimes.process.burst.all.tti_ms.p50"];
    assert!(compared["times"].as_f64() > Some(1.0), "{report}");
    let page = fs::read_to_string(dir.path().join("duel.html")).unwrap();
    assert!(page.contains("process, null") && page.contains("<svg") && page.ends_with("</html>\n"));
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 2, "the configuration and the page");
}

#[test]
fn the_first_start_shows_a_password_once_and_stores_it_nowhere() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = dir_with_config(&format!("runtime = \"null\"\nserver.listen = \"127.0.0.1:{port}\"\n"));
    let up = || text(&mgx(&dir, &["up", "--detach"], &[]).stdout);
    let first = up();
    assert!(mgx(&dir, &["down"], &[]).status.success());
    let second = up();
    assert!(mgx(&dir, &["down"], &[]).status.success());
    let password = first.strip_prefix("sign in as admin with ").unwrap().split(' ').next().unwrap();
    assert!(password.len() >= 22, "{first}");
    assert!(second.starts_with("http://"), "{second}");
    for file in ["mgx.log", "mgx.db", "oauth2.key", "handover.json"] {
        let kept = fs::read(dir.path().join("data").join(file)).unwrap();
        assert!(!kept.windows(password.len()).any(|part| part == password.as_bytes()), "{file}");
    }
}
