//! What a server says and does while its disk is full, its engine is away, or a directory of it was deleted.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use mgx_testkit::{Server, Volume};
use serde_json::{Value, json};

/// How long the readiness may lag behind.
const LAG: Duration = Duration::from_secs(20);

async fn server(settings: &str) -> Server {
    let mut server = Server::prepare(settings, &[]).unwrap();
    server.replace_program(Path::new(env!("CARGO_BIN_EXE_mgx")));
    server.spawn().unwrap();
    server.wait_until_serving().await.unwrap();
    server
}

/// The status and the code of the readiness, once it is `expected` or too late.
async fn readiness(server: &Server, expected: u16) -> (u16, Value) {
    let end = Instant::now() + LAG;
    loop {
        let (status, answer) = server.client().get("/readyz").await.unwrap();
        if status == expected || Instant::now() > end {
            return (status.as_u16(), answer);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_whose_store_is_full_is_not_ready_until_there_is_space() {
    if !Volume::is_possible() {
        return;
    }
    let disk = Volume::new(16).unwrap();
    let settings = format!("runtime = \"null\"\nstore.path = \"{}\"", disk.path().join("mgx.db").display());
    let server = server(&settings).await;
    assert_eq!(readiness(&server, 200).await.0, 200);
    disk.fill().unwrap();
    // what is on the disk for the log already takes some writes
    let client = server.client();
    let prompt = "x".repeat(100_000);
    let end = Instant::now() + LAG;
    while Instant::now() < end {
        let body = json!({ "framework": "nextjs", "prompt": prompt });
        let (status, _) = client.post("/api/sessions", &body).await.unwrap();
        if !status.is_success() {
            break;
        }
    }
    let (status, problem) = readiness(&server, 503).await;
    assert_eq!((status, &problem["code"]), (503, &json!("store-full")), "{problem}");
    disk.free().unwrap();
    let (status, ready) = readiness(&server, 200).await;
    assert_eq!((status, &ready["status"]), (200, &json!("ready")), "{ready}");
    client.session("nextjs").await.expect("it takes writes again");
}

#[tokio::test]
async fn a_session_whose_workspace_was_deleted_goes_on() {
    let server = server("runtime = \"null\"").await;
    let client = server.client();
    let session = client.session("nextjs").await.unwrap();
    let workspace = server.data_dir().join("workspaces").join(&session);
    std::fs::remove_dir_all(&workspace).unwrap();
    let job = client.submit(&session, &json!({ "prompt": "a page" })).await.unwrap();
    client.until_finish(&session).await.unwrap();
    let job = client.job(&job).await.unwrap();
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(workspace.join("README.md").exists(), "with the starter files");
    assert!(server.log().contains("the directory of a workspace was gone"), "{}", server.log());
}

#[tokio::test]
async fn an_engine_that_is_away_is_logged_once_a_minute() {
    let server = server("runtime = \"docker\"\ndocker.host = \"unix:///nowhere/docker.sock\"").await;
    let end = Instant::now() + Duration::from_millis(3500);
    while Instant::now() < end {
        let (status, problem) = server.client().get("/readyz").await.unwrap();
        assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("runtime-unavailable")));
    }
    let log = server.log();
    assert_eq!(log.matches("the container engine does not answer").count(), 1, "{log}");
}
