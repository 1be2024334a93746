//! The warm pool of a real server: what is bound to a job, and what a killed server leaves behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_testkit::{Client, Engine, Server};
use serde_json::{Value, json};

use crate::jobs::session::busybox_with;

/// How long the pool may take to be full again.
const FULL_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_environment_limits_and_workspace_takes_a_warm_container() -> Result<()> {
    let server = busybox_with(&settings()).await?;
    let client = server.client();
    full(&client).await?;
    let session = client.session("nextjs").await?;
    let script = "cat package.json >/dev/null && echo $GREETING > made.txt; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max";
    let job = json!({
        "command": ["/bin/busybox", "sh", "-c", script], "env": { "GREETING": "bonjour" },
        "resources": { "memory": "256m", "cpu_quota": 50_000, "pids": 77 },
    });
    client.submit(&session, &job).await?;
    let frames = client.until_finish(&session).await?;
    let said: Vec<_> = frames.iter().filter_map(|frame| frame.data["data"]["text"].as_str()).collect();
    assert!(said.contains(&"77"), "{said:?}");
    let made = server.data_dir().join(format!("workspaces/{session}/made.txt"));
    assert_eq!(std::fs::read_to_string(made)?, "bonjour\n");
    let pool = pool(&client).await?;
    assert_eq!(
        (&pool["hits"], &pool["misses"], &pool["workspaces"]),
        (&json!(1), &json!(0), &json!("propagated"))
    );
    let table = server.command(&["pools"]).output()?;
    let table = String::from_utf8(table.stdout)?;
    assert!(table.contains("100.0 %"), "{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_with_a_full_pool_leaves_nothing_and_loses_nothing() -> Result<()> {
    let mut server = busybox_with(&settings()).await?;
    let client = server.client();
    full(&client).await?;
    let session = client.session("nextjs").await?;
    let script = "echo up; sleep 4; echo still here > made.txt";
    let job = client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", script] })).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    full(&client).await?;
    for _ in 0..2 {
        server.kill()?;
        server.up().await?;
        let began = Instant::now();
        full(&client).await?;
        assert!(began.elapsed() < FULL_TIMEOUT);
    }
    client.until_finish(&session).await?;
    assert_eq!(client.job(&job).await?["state"], "succeeded");
    let made = server.data_dir().join(format!("workspaces/{session}/made.txt"));
    assert_eq!(std::fs::read_to_string(made)?, "still here\n");

    let began = Instant::now();
    while left(&server)? != (3, 3, 1) || holders(&server)? > 2 {
        // containers, link directories, and the mount that all slots share
        ensure!(began.elapsed() < FULL_TIMEOUT, "left over: {:?} {}", left(&server)?, holders(&server)?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn settings() -> String {
    format!("runtime = \"pool:{}\"\npool.min = 3\npool.idle = \"1h\"", Engine::name())
}

async fn pool(client: &Client) -> Result<Value> {
    let (_, answer) = client.get("/api/pools").await?;
    answer["pools"].get(0).cloned().context("there is no pool")
}

/// Waits until the pool has as many idle containers as it should.
async fn full(client: &Client) -> Result<()> {
    let began = Instant::now();
    loop {
        let pool = pool(client).await?;
        if pool["parked"].as_u64() >= Some(3) && pool["making"] == 0 {
            return Ok(());
        }
        ensure!(began.elapsed() < FULL_TIMEOUT, "the pool is not full: {pool}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many containers hold network namespaces for a server, or how many sockets they call at.
fn holders(server: &Server) -> Result<usize> {
    let sockets = std::fs::read_dir(server.data_dir().join("links-net")).map_or(0, Iterator::count);
    Ok(sockets.max(Engine::holders_with_mounts_under(&server.data_dir())?.len()))
}

/// How many containers, link directories and mounts there are of a server.
fn left(server: &Server) -> Result<(usize, usize, usize)> {
    let data = server.data_dir();
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter(|line| line.contains(&*data.to_string_lossy())).count();
    let links = std::fs::read_dir(data.join("links"))?.count();
    Ok((Engine::all_with_mounts_under(&data)?.len(), links, mounts))
}
