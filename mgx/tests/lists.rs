//! Lists on the command line, files of sessions, ids in short, and the end of many jobs at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use mgx_testkit::Server;

/// A server that runs no jobs: they succeed at once, or wait until they are cancelled.
struct Terminal {
    server: Server,
}

impl Terminal {
    async fn start(settings: &str) -> Self {
        let settings = format!("runtime = \"null\"\n{settings}");
        let program = Path::new(env!("CARGO_BIN_EXE_mgx"));
        Self { server: Server::start_program(program, &settings, &[]).await.unwrap() }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = self.server.command(args);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.server.data_dir());
        command.output().unwrap()
    }

    /// The standard output of a command that has to succeed.
    fn stdout(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output.stdout)
    }

    /// The standard error of a command that has to fail.
    fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        text(&output.stderr)
    }

    /// Makes sessions and jobs.
    async fn post(&self, path: &str, body: serde_json::Value) -> serde_json::Value {
        let (status, answer) = self.server.client().post(path, &body).await.unwrap();
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    fn workspace(&self, id: &str) -> PathBuf {
        self.server.data_dir().join("workspaces").join(id)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn sessions_are_listed_short_wide_quiet_and_as_json() {
    let terminal = Terminal::start("").await;
    terminal
        .post(
            "/api/sessions",
            serde_json::json!({"session_id": "bakery", "name": "A bakery\u{202e}", "framework": "nextjs"}),
        )
        .await;
    let id = "0193a5b0-0000-7000-8000-0123456789ab";
    terminal.post("/api/sessions", serde_json::json!({"session_id": id, "name": "long id"})).await;
    let list = terminal.stdout(&["session", "list"]);
    let rows: Vec<_> = list.lines().collect();
    assert!(rows[0].starts_with("SESSION") && rows.len() == 3, "{list}");
    assert!(
        rows[2].starts_with("bakery") && rows[2].contains("A bakery  nextjs") && rows[2].contains("now"),
        "{list}"
    );
    assert!(!list.contains(id) && rows[1].starts_with(&id[id.len() - 8..]), "{list}");
    assert!(terminal.stdout(&["sessions", "ls", "--wide"]).contains(id));
    assert_eq!(terminal.stdout(&["session", "list", "-q"]), format!("{id}\nbakery\n"));
    assert_eq!(terminal.stdout(&["session", "list", "-q", "--limit", "1"]), format!("{id}\n"));
    assert_eq!(terminal.stdout(&["session", "list", "-q", "--user", "nobody"]), "");
    let json = terminal.stdout(&["session", "list", "--json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(json.lines().next().unwrap()).unwrap()["session_id"],
        id
    );
    assert_eq!(terminal.run(&["session", "list", "-q", "--json"]).status.code(), Some(2));
}

#[tokio::test]
async fn ids_are_accepted_in_short_where_that_names_one() {
    let terminal = Terminal::start("").await;
    for id in ["bakery", "bakery-2"] {
        terminal.post("/api/sessions", serde_json::json!({"session_id": id, "framework": "nextjs"})).await;
    }
    let job = terminal.post("/api/sessions/bakery/jobs", serde_json::json!({"command": ["true"]})).await;
    let id = job["job_id"].as_str().unwrap();
    let short = &id[id.len() - 8..];
    terminal.stdout(&["events", "bakery", "--follow"]);
    assert!(terminal.stdout(&["ps", "--all"]).contains(short));
    assert_eq!(terminal.stdout(&["ps", "--all", "-q"]), format!("{id}\n"));
    for part in [id, short, &id[..13], &short.to_uppercase()] {
        assert!(terminal.stdout(&["timeline", part]).contains(id), "{part}");
        assert!(terminal.stdout(&["explain", part]).contains("has ended"), "{part}");
    }
    let second = terminal.post("/api/sessions/bakery/jobs", serde_json::json!({"command": ["true"]})).await;
    let second = second["job_id"].as_str().unwrap();
    let refusal = terminal.refusal(&["timeline", &id[..8]]);
    assert!(refusal.contains("is a part of 2 jobs") && refusal.contains(second), "{refusal}");
    assert!(terminal.refusal(&["timeline", "ffffffff"]).contains("there is no job ffffffff"));
    assert_eq!(terminal.run(&["timeline", "x"]).status.code(), Some(2));

    assert!(terminal.stdout(&["events", "ry-2", "--json"]).is_empty());
    assert!(terminal.stdout(&["export", "ry-2"]).contains("bakery-2"));
    let refusal = terminal.refusal(&["messages", "bake"]);
    assert!(refusal.contains("bake is a part of 2 sessions: "), "{refusal}");
    assert!(
        terminal
            .refusal(&["events", "bak"])
            .contains("there is no session bak; `mgx session list` lists them")
    );
    // a name that is to be made is no part of another
    terminal.stdout(&["run", "x", "--session", "bake", "--json"]);
    assert!(terminal.stdout(&["session", "list", "-q"]).lines().any(|session| session == "bake"));
}

#[tokio::test]
async fn files_are_listed_printed_and_fetched() {
    let terminal = Terminal::start("").await;
    terminal.post("/api/sessions", serde_json::json!({"session_id": "bakery", "framework": "nextjs"})).await;
    let workspace = terminal.workspace("bakery");
    fs::create_dir_all(workspace.join("shop/deep")).unwrap();
    let odd = "50% off #1 [a]+b?.txt";
    fs::write(workspace.join("shop").join(odd), "cheap\u{1b}[2J\n").unwrap();
    fs::write(workspace.join("shop/deep/x%y.bin"), [0, 159, 146, 150]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", workspace.join("shop/link")).unwrap();

    let list = terminal.stdout(&["files", "bakery"]);
    assert!(list.starts_with("SIZE") && list.contains("shop/\n") && !list.contains("deep"), "{list}");
    let below = terminal.stdout(&["session", "files", "bakery", "shop", "--all", "-q"]);
    assert_eq!(below, format!("shop/{odd}\nshop/deep\nshop/deep/x%y.bin\nshop/link\n"));
    let wide = terminal.stdout(&["files", "bakery", "./shop/", "--wide"]);
    assert!(wide.contains("symlink") && wide.contains("shop/link@") && wide.contains("10 B"), "{wide}");
    assert_eq!(
        terminal.stdout(&["files", "bakery", &format!("shop/{odd}")]),
        "cheap\u{1b}[2J\n",
        "bytes for a program"
    );
    for outside in ["../x", "/etc/passwd", "shop/../../x"] {
        assert_eq!(terminal.run(&["files", "bakery", outside]).status.code(), Some(2), "{outside}");
    }
    let refusal = terminal.refusal(&["files", "bakery", "nothing.txt"]);
    assert!(
        refusal.contains("there is no file nothing.txt; `mgx files bakery --all` lists them"),
        "{refusal}"
    );

    let to = terminal.server.data_dir().with_file_name("fetched");
    let at = to.display().to_string();
    let fetched = terminal.run(&["files", "bakery", "shop", "--to", &at]);
    assert!(text(&fetched.stdout).starts_with("2 files, "), "{fetched:?}");
    assert!(text(&fetched.stderr).contains("1 links and special files are left out"), "{fetched:?}");
    assert_eq!(fs::read(to.join("deep/x%y.bin")).unwrap(), [0, 159, 146, 150]);
    assert!(!to.join("link").exists());
    assert!(
        terminal
            .refusal(&["files", "bakery", "shop", "--to", &at])
            .contains("exists already; --force replaces it")
    );
    // a link in the place of a file is replaced, and not followed
    let kept = to.with_file_name("kept");
    fs::write(&kept, "kept").unwrap();
    fs::remove_file(to.join(odd)).unwrap();
    std::os::unix::fs::symlink(&kept, to.join(odd)).unwrap();
    terminal.stdout(&["files", "bakery", "shop", "--to", &at, "--force"]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    assert_eq!(fs::read_to_string(to.join(odd)).unwrap(), "cheap\u{1b}[2J\n");
}

#[tokio::test]
async fn many_jobs_are_cancelled_by_what_they_have_in_common() {
    let terminal = Terminal::start("").await;
    for id in ["one", "two"] {
        terminal.post("/api/sessions", serde_json::json!({"session_id": id, "framework": "nextjs"})).await;
        let job = serde_json::json!({"command": ["true"], "start_at": "2099-01-01T00:00:00Z"});
        let jobs = vec![job; 30];
        terminal.post(&format!("/api/sessions/{id}/jobs:batch"), serde_json::json!({"jobs": jobs})).await;
    }
    let waiting = || terminal.stdout(&["ps", "-q"]).lines().count();
    assert_eq!(waiting(), 60);
    assert_eq!(
        terminal.stdout(&["cancel", "--session", "one", "--state", "running"]),
        "no job is cancelled\n"
    );
    assert_eq!(terminal.stdout(&["cancel", "--session", "one"]), "30 jobs are cancelled\n");
    assert_eq!(terminal.stdout(&["cancel", "--all", "--user", "nobody"]), "no job is cancelled\n");
    assert_eq!(waiting(), 30);
    let ids = terminal.stdout(&["ps", "-q", "--limit", "2"]);
    let ids: Vec<_> = ids.lines().collect();
    assert!(terminal.stdout(&["cancel", &ids[0][28..]]).contains("its end comes as an event of session two"));
    assert_eq!(terminal.stdout(&["cancel", ids[0], ids[1]]), "1 job is cancelled; 1 had ended already\n");
    assert_eq!(
        terminal.stdout(&["cancel", "--user", "admin", "--all", "--state", "queued"]),
        "28 jobs are cancelled\n"
    );
    assert_eq!(waiting(), 0);
    for wrong in [
        &["cancel"][..],
        &["cancel", "--yes"],
        &["cancel", "--state", "failed"],
        &["cancel", ids[0], "--all"],
    ] {
        assert_eq!(terminal.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
