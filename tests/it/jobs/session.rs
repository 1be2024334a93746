//! The main use: a prompt becomes a finished session with its files.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mgx_testkit::server::agent_runner_program;
use mgx_testkit::{Engine, Server};
use serde_json::json;

pub(crate) fn settings() -> String {
    format!("agent.runner = \"{}\"", agent_runner_program().display())
}

#[tokio::test]
async fn a_prompt_becomes_a_page() -> Result<()> {
    let server = Server::start(&settings(), &[]).await?;
    let client = server.client();
    for (framework, page) in [("nextjs", "app/page.tsx"), ("fastapi-vite", "frontend/src/App.tsx")] {
        let session = client.session(framework).await?;
        let job = client.submit(&session, &json!({ "prompt": "Create a landing page for a bakery" })).await?;
        let frames = client.until_finish(&session).await?;

        let finish = frames.last().expect("at least the finish");
        assert_eq!(finish.data["data"]["status"], "success", "{finish:?}");
        for kind in
            ["agent_start", "message_delta", "tool_start", "tool_end", "message_complete", "agent_end"]
        {
            assert!(frames.iter().any(|frame| frame.event == kind), "no {kind}");
        }
        let ids: Vec<u64> = frames.iter().map(|frame| frame.id).collect();
        assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "numbers without gaps");

        let file = client.request(reqwest::Method::GET, &format!("/api/workspaces/{session}/files/{page}"));
        let text = file.send().await?.error_for_status()?.text().await?;
        assert!(text.to_lowercase().contains("bakery"), "{text}");

        let job = client.job(&job).await?;
        assert_eq!(
            (&job["state"], &job["result"]["status"]),
            (&json!("succeeded"), &json!("success")),
            "{job}"
        );
        let (_, session) = client.get(&format!("/api/sessions/{session}")).await?;
        assert!(session["usage"]["requests"].as_u64() > Some(3), "{session}");
    }
    Ok(())
}

#[tokio::test]
async fn the_generate_request_of_the_seeds_works_unchanged() -> Result<()> {
    let server = Server::start(&settings(), &[]).await?;
    let client = server.client();
    let body = json!({ "session_id": "test-session", "workspace_id": "test-workspace", "framework": "nextjs",
        "prompt": "Create a simple homepage" });
    let (status, job) = client.post("/api/agent/generate", &body).await?;
    assert_eq!(status, 202, "{job}");
    let frames = client.until_finish("test-session").await?;
    assert_eq!(frames.last().map(|frame| frame.data["data"]["status"].clone()), Some(json!("success")));
    assert!(server.data_dir().join("workspaces/test-workspace/app/page.tsx").is_file());
    Ok(())
}

#[tokio::test]
async fn a_command_runs_in_the_workspace_and_its_output_is_in_the_log() -> Result<()> {
    let server = busybox().await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let script = "echo hello; echo oops >&2; echo $GREETING > made.txt; exit 3";
    let job = json!({ "command": ["/bin/busybox", "sh", "-c", script], "env": { "GREETING": "bonjour" } });
    let job = client.submit(&session, &job).await?;
    let frames = client.until_finish(&session).await?;
    let lines: Vec<_> =
        frames.iter().filter(|frame| frame.event == "log").map(|frame| &frame.data["data"]).collect();
    assert!(lines.contains(&&json!({ "stream": "stdout", "text": "hello" })), "{lines:?}");
    assert!(lines.contains(&&json!({ "stream": "stderr", "text": "oops" })), "{lines:?}");
    assert_eq!(
        std::fs::read_to_string(server.data_dir().join(format!("workspaces/{session}/made.txt")))?,
        "bonjour\n"
    );
    let job = client.job(&job).await?;
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("nonzero_exit")), "{job}");
    assert_eq!(job["exit"]["code"], 3);
    assert!(!job.to_string().contains("bonjour"), "environment values are never shown: {job}");
    Ok(())
}

#[tokio::test]
async fn a_running_job_can_be_cancelled_and_so_can_a_waiting_one() -> Result<()> {
    let server = busybox_with("scheduler.max_running = 1\nagent.grace = \"1s\"").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let sleep = json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; sleep 600"] });
    let running = client.submit(&session, &sleep).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let waiting = client.submit(&session, &sleep).await?;
    let (_, place) = client.get(&format!("/api/jobs/{waiting}")).await?;
    assert_eq!((&place["state"], &place["position"]), (&json!("queued"), &json!(1)), "{place}");

    for job in [&waiting, &running] {
        let (status, answer) = client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
        assert_eq!(status, 202, "{answer}");
        let of_job = |frame: &mgx_testkit::client::Frame| {
            frame.event == "finish" && frame.data["job_id"] == json!(job)
        };
        let frames = client.follow(&session, 0, of_job).await?;
        assert_eq!(frames.last().map(|frame| frame.data["data"]["status"].clone()), Some(json!("stopped")));
        assert_eq!(client.job(job).await?["state"], "cancelled");
        let (status, problem) = client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
        assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("already-finished")), "{problem}");
    }
    let end = Instant::now() + Duration::from_secs(5);
    while !Engine::containers_of(&session)?.is_empty() {
        ensure!(Instant::now() < end, "containers are left: {:?}", Engine::containers_of(&session));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A server whose agent image has a shell.
pub(crate) async fn busybox() -> Result<Server> {
    busybox_with("").await
}

pub(crate) async fn busybox_with(more: &str) -> Result<Server> {
    busybox_in(more, &[]).await
}

/// The same with `env` in the environment of the server.
pub(crate) async fn busybox_in(more: &str, env: &[(&str, &str)]) -> Result<Server> {
    Server::start(&format!("{}\nagent.image = \"mgx-base\"\n{more}", settings()), env).await
}
