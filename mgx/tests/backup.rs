//! `mgx backup` while the server works and when it does not, and `mgx restore`: what comes back, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mgx_testkit::{Client, Server};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::AbortHandle;

const SETTINGS: &str = "runtime = \"null\"";

/// How many backups are made under load; `tests/judges/backups.sh` makes more.
fn backups() -> usize {
    std::env::var("MGX_BACKUPS").map_or(3, |count| count.parse().unwrap())
}

async fn server() -> Server {
    Server::start_program(Path::new(env!("CARGO_BIN_EXE_mgx")), SETTINGS, &[]).await.unwrap()
}

/// A platform that was never started.
fn fresh() -> Server {
    let mut fresh = Server::prepare(SETTINGS, &[]).unwrap();
    fresh.replace_program(Path::new(env!("CARGO_BIN_EXE_mgx")));
    fresh
}

fn run(server: &Server, args: &[&str]) -> Output {
    server.command(args).output().unwrap()
}

fn succeed(server: &Server, args: &[&str]) -> String {
    let output = run(server, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The sentence of a refusal.
fn refusal(server: &Server, args: &[&str]) -> String {
    let output = run(server, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .map(|entries| {
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        })
        .unwrap_or_default();
    names.sort();
    names
}

/// How many jobs are accepted in one round at most, so that a hundred rounds do not take for ever.
const JOBS_PER_ROUND: usize = 300;

/// Submits jobs without a pause up to the limit, and notes those that were accepted.
fn load(client: Client, accepted: Arc<Mutex<Vec<(String, String)>>>, limit: Arc<AtomicUsize>) -> AbortHandle {
    let task = tokio::spawn(async move {
        loop {
            while accepted.lock().unwrap().len() >= limit.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            let session = client.session("nextjs").await.unwrap();
            for _ in 0..5 {
                let job = client.submit(&session, &json!({ "prompt": "a page" })).await.unwrap();
                accepted.lock().unwrap().push((session.clone(), job));
            }
        }
    });
    task.abort_handle()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_has_everything_that_was_accepted() {
    let mut original = server().await;
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let limit = Arc::new(AtomicUsize::new(JOBS_PER_ROUND));
    let tasks: Vec<_> = (0..3).map(|_| load(original.client(), accepted.clone(), limit.clone())).collect();
    let dir = TempDir::new().unwrap();
    let mut seen = 0;
    for number in 0..backups() {
        while accepted.lock().unwrap().len() < seen + 10 {
            tokio::task::yield_now().await;
        }
        let before = accepted.lock().unwrap().clone();
        let file = dir.path().join(format!("{number}.tar.gz"));
        let name = file.to_str().unwrap().to_owned();
        // beside the load, which goes on on this thread
        let (shown, original_again) = tokio::task::spawn_blocking(move || {
            let shown = succeed(&original, &["backup", &name]);
            (shown, original)
        })
        .await
        .unwrap();
        original = original_again;
        assert!(shown.contains("with keys, with workspaces"), "{shown}");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);

        let mut restored = fresh();
        succeed(&restored, &["restore", file.to_str().unwrap()]);
        assert_eq!(restored.token().unwrap(), original.token().unwrap());
        restored.up().await.unwrap();
        let client = restored.client();
        for (session, job) in &before[seen..] {
            assert_eq!(client.job(job).await.unwrap()["session_id"], session.as_str());
            let (status, file) = client.get(&format!("/api/workspaces/{session}/files")).await.unwrap();
            assert!(status.is_success(), "{status} {file}");
        }
        seen = before.len();
        limit.store(accepted.lock().unwrap().len() + JOBS_PER_ROUND, Ordering::SeqCst);
        fs::remove_file(file).unwrap();
    }
    tasks.iter().for_each(AbortHandle::abort);
    assert_eq!(names_in(dir.path()), [""; 0], "nothing is left beside the backups");
}

/// A workspace with all that a process in a container can make, and the session that it belongs to.
async fn workspace(server: &Server) -> (String, PathBuf) {
    let session = server.client().session("nextjs").await.unwrap();
    let root = server.data_dir().join("workspaces").join(&session);
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let long = root.join("l".repeat(200)).join("m".repeat(200));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join(std::ffi::OsStr::from_bytes(b"not \xff text\n")), "odd").unwrap();
    symlink("/etc/passwd", root.join("outside")).unwrap();
    symlink(format!("./{}", "x/".repeat(120)), root.join("long")).unwrap();
    fs::create_dir(root.join("locked")).unwrap();
    fs::write(root.join("locked/file"), "kept").unwrap();
    fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    (session, root)
}

#[tokio::test]
async fn files_and_accounts_come_back_as_they_were() {
    let mut original = server().await;
    let (session, root) = workspace(&original).await;
    original.kill().unwrap();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("all.tar.gz");
    let file = file.to_str().unwrap();
    let output = run(&original, &["backup", file]);
    assert!(output.status.success(), "of a server that was killed: {output:?}");
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("1 files of workspaces were left out"), "the pipe: {note}");

    let mut restored = fresh();
    let shown = succeed(&restored, &["restore", file]);
    assert!(shown.contains("1 sessions"), "{shown}");
    let copy = restored.data_dir().join("workspaces").join(&session);
    assert_eq!(fs::metadata(copy.join("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    let seconds = |path: &Path| fs::metadata(path).unwrap().mtime();
    assert_eq!(seconds(&copy.join("run.sh")), seconds(&root.join("run.sh")));
    for link in ["outside", "long"] {
        assert_eq!(fs::read_link(copy.join(link)).unwrap(), fs::read_link(root.join(link)).unwrap());
    }
    assert_eq!(fs::read_to_string(copy.join("locked/file")).unwrap(), "kept");
    assert_eq!(fs::metadata(copy.join("locked")).unwrap().permissions().mode() & 0o777, 0o555);
    let expected: Vec<String> = names_in(&root).into_iter().filter(|name| name != "pipe").collect();
    assert_eq!(names_in(&copy), expected);
    for key in ["admin.token", "attempt.key", "app.key", "oauth2.key", "mgx.db"] {
        let kept = restored.data_dir().join(key);
        assert_eq!(kept.metadata().unwrap().mode() & 0o777, 0o600, "{key}");
        if key != "mgx.db" {
            assert_eq!(fs::read(kept).unwrap(), fs::read(original.data_dir().join(key)).unwrap(), "{key}");
        }
    }
    restored.up().await.unwrap();
    let (status, found) = restored.client().get(&format!("/api/sessions/{session}")).await.unwrap();
    assert!(status.is_success(), "{found}");

    let store_alone = dir.path().join("store.tar.gz");
    let store_alone = store_alone.to_str().unwrap();
    succeed(&original, &["backup", store_alone, "--keys=false", "--workspaces=false"]);
    let mut restored = fresh();
    succeed(&restored, &["restore", store_alone]);
    assert_eq!(names_in(&restored.data_dir().join("workspaces")), [""; 0]);
    restored.up().await.unwrap();
    assert_ne!(restored.token().unwrap(), original.token().unwrap());
    assert!(restored.client().get(&format!("/api/sessions/{session}")).await.unwrap().0.is_success());
}

#[tokio::test]
async fn what_is_not_a_whole_backup_restores_nothing() {
    let original = server().await;
    workspace(&original).await;
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    succeed(&original, &["backup", &path("good")]);
    let again = refusal(&original, &["backup", &path("good")]);
    assert!(again.contains("is there already"), "{again}");
    let into = refusal(&original, &["restore", &path("good")]);
    assert!(into.contains("is not empty") && into.contains("a directory that is new"), "{into}");
    let inside = original.data_dir().join("workspaces/backup");
    let inside = refusal(&original, &["backup", inside.to_str().unwrap()]);
    assert!(inside.contains("would be a part of itself"), "{inside}");

    let good = fs::read(path("good")).unwrap();
    fs::write(path("short"), &good[..good.len() - 100]).unwrap();
    fs::write(path("half"), &good[..good.len() / 2]).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    fs::write(path("damaged"), damaged).unwrap();
    fs::write(path("other"), "not an archive").unwrap();
    fs::write(path("empty"), "").unwrap();
    for name in ["short", "half", "damaged", "other", "empty", "missing"] {
        let fresh = fresh();
        let refused = refusal(&fresh, &["restore", &path(name)]);
        assert!(refused.starts_with("mgx: nothing was restored from"), "{refused}");
        assert_eq!(names_in(&fresh.data_dir()), [""; 0], "{name}");
        succeed(&fresh, &["restore", &path("good")]);
    }
}

#[test]
fn a_shared_store_is_left_to_its_own_tools() {
    let settings = format!("{SETTINGS}\nstore.url = \"mongodb://127.0.0.1:1/\"");
    let mut shared = Server::prepare(&settings, &[]).unwrap();
    shared.replace_program(Path::new(env!("CARGO_BIN_EXE_mgx")));
    for command in ["backup", "restore"] {
        let refused = refusal(&shared, &[command, "file"]);
        assert!(refused.contains("mongodump"), "{refused}");
    }
}

#[tokio::test]
async fn a_data_directory_without_its_store_is_no_new_platform() {
    let mut original = server().await;
    original.client().session("nextjs").await.unwrap();
    let data = original.data_dir();
    // the main file alone, as an unwary `cp` takes it
    let copied = fresh();
    fs::create_dir(copied.data_dir()).unwrap();
    fs::copy(data.join("mgx.db"), copied.data_dir().join("mgx.db")).unwrap();
    let refused = refusal(&copied, &["up"]);
    assert!(refused.contains("mgx.db-wal, which is missing"), "{refused}");
    assert!(!copied.data_dir().join("admin.token").exists(), "no new platform was begun");

    original.kill().unwrap();
    for name in ["mgx.db", "mgx.db-wal", "mgx.db-shm"] {
        fs::remove_file(data.join(name)).ok();
    }
    let refused = refusal(&original, &["up"]);
    assert!(refused.contains("there is no store") && refused.contains("restore a backup"), "{refused}");
    fs::write(data.join("mgx.db"), "").unwrap();
    assert!(refusal(&original, &["up"]).contains("there is no store"));
}
