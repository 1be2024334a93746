//! What the user sees of a job: while it runs, at its end, and in the events of its session; and the help.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::path::Path;
use std::process::{Command, Output};

use mgx_testkit::Server;
use serde_json::json;

async fn server() -> Server {
    Server::start_program(Path::new(env!("CARGO_BIN_EXE_mgx")), "runtime = \"null\"", &[]).await.unwrap()
}

fn mgx(server: &Server, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = server.command(args);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", server.data_dir());
    command.envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_end_of_a_run_says_what_can_be_done_next_and_has_no_colours_without_a_terminal() {
    let server = server().await;
    for env in [&[][..], &[("CLICOLOR_FORCE", "1"), ("TERM", "xterm-256color")], &[("NO_COLOR", "1")]] {
        let output = mgx(&server, &["run", "x", "--session", "bakery"], env);
        assert!(output.status.success(), "{output:?}");
        let shown = text(&output.stdout);
        assert!(shown.starts_with("session bakery  job "), "{shown}");
        assert!(shown.ends_with("finish success\ngo on   mgx run \"…\" --session bakery\n"), "{shown}");
        assert!(!shown.contains('\u{1b}') && !text(&output.stderr).contains('\u{1b}'), "{output:?}");
    }
}

#[tokio::test]
async fn the_events_of_a_session_say_why_a_job_failed() {
    let server = server().await;
    let client = server.client();
    client.post("/api/sessions", &json!({"session_id": "bakery"})).await.unwrap();
    let never = json!({"command": ["true"], "start_at": "2099-01-01T00:00:00Z"});
    let (_, cancelled) = client.post("/api/sessions/bakery/jobs", &never).await.unwrap();
    let id = cancelled["job_id"].as_str().unwrap();
    assert!(mgx(&server, &["cancel", id], &[]).status.success());
    let shown = text(&mgx(&server, &["events", "bakery", "--follow"], &[]).stdout);
    assert!(shown.ends_with(&format!("finish stopped  (job {id})\n")), "{shown}");
    assert!(shown.contains("\nerror   "), "the reason stands before the end: {shown}");
    let replayed = text(&mgx(&server, &["events", "bakery"], &[]).stdout);
    assert_eq!(replayed, shown);
}

#[tokio::test]
async fn a_session_without_a_framework_has_the_same_one_everywhere() {
    let server = server().await;
    let (_, made) = server.client().post("/api/sessions", &json!({"session_id": "by-api"})).await.unwrap();
    assert!(mgx(&server, &["run", "x", "--session", "by-run", "--json"], &[]).status.success());
    let (_, run) = server.client().get("/api/sessions/by-run").await.unwrap();
    assert_eq!(run["framework"], made["framework"]);
    let help = text(&mgx(&server, &["run", "--help"], &[]).stdout);
    assert!(help.contains(&format!("default, {}, if absent", made["framework"].as_str().unwrap())), "{help}");
}

#[test]
fn help_keeps_the_options_of_every_command_apart() {
    for command in ["run", "ps", "up", "client add", "session list", "doctor"] {
        let args = command.split(' ').chain(["--help"]);
        let output = Command::new(env!("CARGO_BIN_EXE_mgx")).args(args).output().unwrap();
        let help = text(&output.stdout);
        let (own, global) = help.split_once("\nGlobal options:\n").unwrap_or_else(|| panic!("{help}"));
        for option in ["--config <", "--runtime <", "--url <"] {
            assert!(!own.contains(option) && global.contains(option), "{command} {option}: {help}");
        }
        let long = help.lines().find(|line| line.chars().count() > 110);
        assert_eq!(long, None, "{command}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_mgx")).args(["run", "--help"]).output().unwrap();
    assert!(text(&output.stdout).ends_with("2 wrong usage, 124 timed out, 130 cancelled or left.\n"));
}
