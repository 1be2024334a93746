//! Time is up.

use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use mgx_tests::Engine;
use serde_json::json;

use crate::session::busybox_with;

/// Ignores SIGTERM, and so do its children.
const STUBBORN: &str = "trap '' TERM; echo up; while true; do sleep 1; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ignores_sigterm_is_gone_soon_after_its_deadline() -> Result<()> {
    let server = busybox_with("agent.grace = \"2s\"").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = json!({ "command": ["/bin/busybox", "sh", "-c", STUBBORN], "timeout_s": 5 });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let running = client.job(&job).await?;
    let deadline: Timestamp = running["deadline_at"].as_str().expect("a deadline").parse()?;

    client.until_finish(&session).await?;
    let late = Timestamp::now().duration_since(deadline).as_secs_f64();
    assert!((1.9..4.0).contains(&late), "finished {late} s after the deadline, with 2 s of grace");
    let end = Instant::now() + Duration::from_secs(2);
    while !Engine::containers_of(&session)?.is_empty() {
        assert!(Instant::now() < end, "the container is still there");
    }

    let job = client.job(&job).await?;
    assert_eq!((&job["state"], &job["reason"]), (&json!("timed_out"), &json!("run_timeout")), "{job}");
    assert_eq!(job["result"]["session_id"], json!(session));
    assert_eq!(job["result"]["status"], "timeout");
    assert_eq!(job["result"]["error"], "Agent task timeout after 5 seconds");
    assert!(job["result"]["elapsed_seconds"].as_f64() >= Some(5.0), "{job}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passed_while_the_platform_was_away_is_kept_all_the_same() -> Result<()> {
    let mut server = busybox_with("agent.grace = \"1s\"").await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = json!({ "command": ["/bin/busybox", "sh", "-c", STUBBORN], "timeout_s": 3 });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    server.kill()?;
    let name = &Engine::containers_of(&session)?[0];
    tokio::time::sleep(Duration::from_secs(6)).await; // the deadline and the grace time pass without a platform
    assert_eq!(Engine::processes(name)?.len(), 1, "only the runner is left, with its report");
    server.up().await?;
    client.until_finish(&session).await?;
    assert_eq!(client.job(&job).await?["state"], "timed_out");
    Ok(())
}
