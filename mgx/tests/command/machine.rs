//! Faults of the machine: an engine that cannot be reached, directories that cannot be written, and variables that other
//! programs read too.

use std::fs;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;

use super::{dir_with_config, mgx, text};

/// The finding of `mgx doctor` about `check`: what, and its remedy.
fn finding(dir: &TempDir, args: &[&str], env: &[(&str, &str)], check: &str) -> (String, String) {
    let shown = text(&mgx(dir, &[args, &["doctor", "--json"]].concat(), env).stdout);
    let all = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut found = all.filter(|finding| finding["check"] == check && finding["verdict"] == "fail");
    let found = found.next_back();
    let found = found.unwrap_or_else(|| panic!("no failure of {check}: {shown}"));
    let field = |name: &str| {
        found[name].as_str().unwrap_or_default().replace(&dir.path().display().to_string(), "DIR")
    };
    (field("what"), field("remedy"))
}

#[test]
fn a_variable_for_docker_stops_no_command_that_needs_no_docker() {
    let dir = dir_with_config("runtime = \"docker\"\n");
    for value in ["ssh://root@host", "npipe:////./pipe/docker_engine", "fd://", "nonsense"] {
        let env = [
            ("DOCKER_HOST", value),
            ("MGX_URL", "http://127.0.0.1:9"),
            ("MGX_TOKEN", "x"),
            ("HOME", "/nowhere"),
        ];
        for args in [
            &["ps"][..],
            &["cancel", "--all"],
            &["login"],
            &["user", "list"],
            &["run", "x"],
            &["export", "x"],
        ] {
            let output = mgx(&dir, args, &env);
            assert!(
                text(&output.stderr).starts_with("mgx: no server answers at http://127.0.0.1:9"),
                "{args:?} {output:?}"
            );
        }
        assert!(mgx(&dir, &["down"], &env).status.success());
        let config = mgx(&dir, &["config"], &env);
        assert!(text(&config.stdout).contains("# left out: env DOCKER_HOST: docker.host: got"), "{config:?}");
        let (what, remedy) = finding(&dir, &[], &env, "settings");
        assert!(what.starts_with("env DOCKER_HOST: docker.host: got"), "{what}");
        assert_eq!(remedy, "unset it, or override it with MGX_DOCKER__HOST");
        for args in [&["up"][..], &["images"], &["bench", "start"]] {
            let output = mgx(&dir, args, &env);
            assert_eq!(output.status.code(), Some(78), "what needs Docker is refused: {args:?} {output:?}");
        }
    }
    let env = [("DOCKER_HOST", "ssh://root@host"), ("CONTAINER_HOST", "ssh://root@host")];
    for runtime in ["null", "process"] {
        let output = mgx(&dir, &["--runtime", runtime, "config"], &env);
        assert!(output.status.success() && !text(&output.stdout).contains("left out"), "{output:?}");
    }
    let output = mgx(&dir, &["--runtime", "podman", "up"], &env);
    assert!(text(&output.stderr).contains("env CONTAINER_HOST: podman.host"), "{output:?}");
    assert!(!text(&output.stderr).contains("DOCKER_HOST"), "{output:?}");
    // what is written for this program is checked by every command
    let output = mgx(&dir, &["ps"], &[("MGX_DOCKER__HOST", "ssh://root@host")]);
    assert_eq!(output.status.code(), Some(78));
    let output = mgx(&dir, &["ps"], &[("OPENAI_BASE_URL", "ftp://x"), ("OPENAI_API_KEY", "a b")]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_cause_of_a_missing_engine_is_said_with_its_remedy() {
    let dir = dir_with_config("");
    let at = |name: &str| format!("unix://{}", dir.path().join(name).display());
    fs::write(dir.path().join("file"), "").unwrap();
    drop(UnixListener::bind(dir.path().join("left-over")).unwrap());
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let web = tcp.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        for mut stream in tcp.incoming().map_while(Result::ok) {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").ok();
        }
    });
    for (runtime, key, host, what, remedy) in [
        ("docker", "DOCKER", at("nothing"), "there is no such socket", "start it (`systemctl start docker`)"),
        ("docker", "DOCKER", at("file"), "DIR/file is a file and no socket", "set docker.host to the socket"),
        ("docker", "DOCKER", at("left-over"), "connection refused: no engine listens", "start it"),
        ("docker", "DOCKER", "tcp://127.0.0.1:9".to_owned(), "connection refused", "or set docker.host"),
        (
            "docker",
            "DOCKER",
            "tcp://nowhere.invalid:2375".to_owned(),
            "has no address (DNS)",
            "a host that exists",
        ),
        ("docker", "DOCKER", format!("tcp://{web}"), "is no container engine", "the address of the engine"),
        ("podman", "PODMAN", at("nothing"), "there is no such socket", "podman.socket"),
        ("podman", "PODMAN", at("file"), "is a file and no socket", "set podman.host to the socket"),
        ("podman", "PODMAN", at("left-over"), "connection refused: no engine listens", "podman.socket"),
    ] {
        let env = [(&*format!("MGX_{key}__HOST"), &*host)];
        let (said, helps) = finding(&dir, &["--runtime", runtime], &env, "engine");
        assert!(said.contains(what), "{host}: {said}");
        assert!(helps.contains(remedy), "{host}: {helps}");
        assert!(!said.contains("legacy client"), "{said}");
    }
}

#[test]
fn an_error_with_a_path_names_it() {
    let dir = dir_with_config("runtime = \"null\"\n");
    fs::write(dir.path().join("file"), "").unwrap();
    for args in [&["up"][..], &["up", "--detach"]] {
        let output =
            mgx(&dir, args, &[("MGX_SERVER__DATA_DIR", "file/data"), ("MGX_SERVER__LISTEN", "127.0.0.1:0")]);
        assert!(!output.status.success());
        let stderr = text(&output.stderr);
        assert!(stderr.contains(&format!("{}/file/data", dir.path().display())), "{args:?}: {stderr}");
    }
    let (what, remedy) = finding(&dir, &[], &[("MGX_SERVER__DATA_DIR", "file/data")], "data");
    assert!(what.starts_with("cannot make DIR/file/data: DIR/file: "), "{what}");
    assert!(remedy.contains("server.data_dir"), "{remedy}");
    let (what, remedy) = finding(&dir, &[], &[("MGX_SERVER__DATA_DIR", "/proc/self/fdinfo")], "data");
    assert!(what.starts_with("cannot write into /proc/self/fdinfo: "), "{what}");
    assert!(remedy.contains("server.data_dir"), "{remedy}");
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 2, "doctor leaves nothing behind");
}

#[test]
fn a_tilde_in_a_path_is_the_home_directory_or_refused() {
    let dir = dir_with_config(
        "server.data_dir = \"~/mgx data\"\nworkspaces.root = \"~\"\ndocker.host = \"unix://~/docker.sock\"\n",
    );
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let home = home.display().to_string();
    let (what, _) = finding(&dir, &[], &[("HOME", &home)], "engine");
    assert!(what.starts_with("unix://DIR/home/docker.sock does not answer"), "{what}");
    assert!(mgx(&dir, &["down"], &[("HOME", &home)]).status.success());
    let output = mgx(&dir, &["ps"], &[("HOME", &home)]);
    assert!(text(&output.stderr).contains(&format!("there is no token in {home}/mgx data")), "{output:?}");
    let output = mgx(&dir, &["ps"], &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        text(&output.stderr).contains("server.data_dir: ~/mgx data: ~ stands for HOME, which is not set"),
        "{output:?}"
    );
    let output = mgx(&dir, &["ps"], &[("HOME", &home), ("MGX_STORE__PATH", "~anna/mgx.db")]);
    assert!(text(&output.stderr).contains("store.path: ~anna/mgx.db: ~anna is not understood"), "{output:?}");
    assert!(
        fs::read_dir(dir.path()).unwrap().all(|it| !it.unwrap().file_name().to_string_lossy().contains('~'))
    );
    fs::write(dir.path().join("home/own.toml"), "server.data_dir = \"elsewhere\"\n").unwrap();
    let output = mgx(&dir, &["--config=~/own.toml", "ps"], &[("HOME", &home)]);
    assert!(text(&output.stderr).contains("/elsewhere;"), "{output:?}");
}

#[tokio::test]
async fn a_job_that_waits_for_the_engine_is_explained_with_the_cause() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = dir_with_config(&format!("server.listen = \"127.0.0.1:{port}\"\n"));
    fs::write(dir.path().join("file"), "").unwrap();
    let host = format!("unix://{}", dir.path().join("file").display());
    let env = [("MGX_DOCKER__HOST", &*host), ("MGX_AGENT__RUNNER", "file")];
    assert!(mgx(&dir, &["up", "--detach"], &env).status.success());
    let token = fs::read_to_string(dir.path().join("data/admin.token")).unwrap();
    let client = mgx_testkit::Client::new(&format!("http://127.0.0.1:{port}"), token.trim());
    client.post("/api/sessions", &serde_json::json!({"session_id": "bakery"})).await.unwrap();
    let id = client.submit("bakery", &serde_json::json!({"command": ["true"]})).await.unwrap();
    let explained = mgx(&dir, &["explain", &id[id.len() - 8..]], &env);
    let cancelled = mgx(&dir, &["cancel", "--all"], &env);
    let log = fs::read_to_string(dir.path().join("data/mgx.log")).unwrap();
    assert!(mgx(&dir, &["down"], &env).status.success());
    let explained = text(&explained.stdout);
    let cause = format!("{host} is a file and no socket");
    assert!(explained.contains(&cause), "{explained}");
    assert!(explained.contains("remedy    set docker.host to the socket of the engine"), "{explained}");
    assert!(log.contains(&cause) && log.contains("set docker.host to the socket"), "{log}");
    assert_eq!(text(&cancelled.stdout), "1 job is cancelled\n");
}
