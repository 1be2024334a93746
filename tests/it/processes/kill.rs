//! The platform is killed or stopped, and its containers go on.

use anyhow::Result;
use mgx_testkit::Engine;
use serde_json::json;

use crate::jobs::session::busybox;

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_disturbs_neither_the_container_nor_the_reader() -> Result<()> {
    let mut server = busybox().await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done";
    let job = client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", script] })).await?;
    let before = client.follow(&session, 0, |frame| frame.data["data"]["text"] == "line 10").await?;
    let container = Engine::containers_of(&session)?;
    let started = Engine::inspect(&container[0])?["State"]["StartedAt"].clone();

    let reader = client.clone();
    let (name, seen) = (session.clone(), before.last().map_or(0, |frame| frame.id));
    let reader =
        tokio::spawn(async move { reader.follow(&name, seen, |frame| frame.event == "finish").await });
    for _ in 0..2 {
        server.kill()?;
        assert_eq!(Engine::containers_of(&session)?, container);
        server.up().await?;
    }
    let after = reader.await??;

    let ids: Vec<u64> = before.iter().chain(&after).map(|frame| frame.id).collect();
    assert_eq!(ids, (1..=ids.len() as u64).collect::<Vec<_>>(), "every number once, in order");
    let lines: Vec<_> =
        before.iter().chain(&after).filter_map(|frame| frame.data["data"]["text"].as_str()).collect();
    assert_eq!(lines, (1..=60).map(|n| format!("line {n}")).collect::<Vec<_>>(), "every line once, in order");
    assert_eq!(after.iter().filter(|frame| frame.event == "finish").count(), 1);
    assert!(after.iter().any(|frame| frame.event == "job_reattached"));
    assert!(after.iter().all(|frame| frame.data["attempt"] == 1), "the same attempt");
    let job = client.job(&job).await?;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert!(started.is_string());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_containers_running_and_the_next_start_takes_them_up() -> Result<()> {
    let mut server = busybox().await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let script = "echo up; sleep 4; echo done";
    client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", script] })).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    server.terminate()?;
    assert_eq!(Engine::containers_of(&session)?.len(), 1);
    server.up().await?;
    let frames = client.until_finish(&session).await?;
    assert!(frames.iter().any(|frame| frame.data["data"]["text"] == "done"));
    assert_eq!(frames.last().map(|frame| frame.data["data"]["status"].clone()), Some(json!("success")));
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused_naming_the_first() -> Result<()> {
    let server = busybox().await?;
    let output = server.command(&["up"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains(&server.pid().unwrap_or_default().to_string()), "{said}");
    Ok(())
}
