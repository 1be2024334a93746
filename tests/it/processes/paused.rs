//! A server that is killed while the container of a job is paused: the job goes on, or ends at its own deadline.

use std::time::Duration;

use anyhow::{Context, Result};
use mgx_testkit::{Engine, Server};
use serde_json::json;

use crate::jobs::session::busybox_with;

/// Longer than the next server waits for a runner before it asks the engine.
const SILENCE: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_taken_for_the_end_of_a_job() -> Result<()> {
    let mut server = busybox_with("agent.grace = \"1s\"").await?;
    let (goes_on, _) = paused(&server, 120).await?;
    let (ends, its_job) = paused(&server, 20).await?;
    server.kill()?;
    server.up().await?;
    tokio::time::sleep(SILENCE).await;
    let client = server.client();
    assert_eq!(client.job(&its_job).await?["state"], "running", "its time is not over");

    std::fs::write(server.data_dir().join(format!("workspaces/{goes_on}/go")), "")?;
    let container = Engine::containers_of(&goes_on)?.pop().context("its container is there")?;
    Engine::docker(&["unpause", &container])?;
    let frames = client.until_finish(&goes_on).await?;
    let last = frames.last().context("a finish")?;
    assert_eq!((&last.data["data"]["state"], &last.data["attempt"]), (&json!("succeeded"), &json!(1)));
    client.until_finish(&ends).await?;
    assert_eq!(client.job(&its_job).await?["state"], "timed_out");
    Ok(())
}

/// A session whose job runs in a paused container, and the job.
async fn paused(server: &Server, timeout_s: u32) -> Result<(String, String)> {
    let client = server.client();
    let session = client.session("nextjs").await?;
    let script = "echo up; while [ ! -e go ]; do sleep 0.1; done";
    let job = json!({ "command": ["/bin/busybox", "sh", "-c", script], "timeout_s": timeout_s });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let container = Engine::containers_of(&session)?.pop().context("its container is there")?;
    Engine::docker(&["pause", &container])?;
    Ok((session, job))
}
