//! A server is replaced by another one, perhaps of another version, while its jobs run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mgx_testkit::server::mgx_program;
use mgx_testkit::{Engine, Server};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::jobs::session::{busybox, settings};

/// How long a server may take to exit when no request is under way.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn another_program_takes_over_under_running_jobs_and_says_what_it_took() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let next = dir.path().join("mgx-next");
    std::fs::copy(mgx_program(), &next)?;
    let mut server = busybox().await?;
    let client = server.client();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let session = client.session("nextjs").await?;
        let script = "i=0; while [ ! -e go ]; do i=$((i+1)); echo line $i; sleep 0.1; done; echo done";
        client.submit(&session, &json!({ "command": ["/bin/busybox", "sh", "-c", script] })).await?;
        client.follow(&session, 0, |frame| frame.event == "log").await?;
        sessions.push(session);
    }
    let started = |session: &String| {
        let name = Engine::containers_of(session)?.pop().context("its container is there")?;
        Ok::<_, anyhow::Error>((name.clone(), Engine::inspect(&name)?["State"]["StartedAt"].clone()))
    };
    let before = sessions.iter().map(started).collect::<Result<Vec<_>>>()?;

    server.terminate()?;
    server.replace_program(&next);
    server.up().await?;
    assert_eq!(
        sessions.iter().map(started).collect::<Result<Vec<_>>>()?,
        before,
        "nothing was started again"
    );
    for session in &sessions {
        client.follow(session, 0, |frame| frame.event == "job_reattached").await?;
        std::fs::write(server.data_dir().join(format!("workspaces/{session}/go")), "")?;
        let frames = client.until_finish(session).await?;
        let said: Vec<_> = frames.iter().filter_map(|frame| frame.data["data"]["text"].as_str()).collect();
        let (last, lines) = said.split_last().context("it said something")?;
        assert_eq!(*last, "done");
        let all: Vec<_> = (1..=lines.len()).map(|n| format!("line {n}")).collect();
        assert_eq!(lines, all, "every line once, in order");
        assert!(frames.iter().all(|frame| frame.data["attempt"] == 1), "the same attempt");
    }
    let handover = doctor(&server, "handover")?;
    let what = handover["what"].as_str().unwrap_or_default();
    assert!(what.contains("3 go on, 0 had ended, 0 lost, 0 started again"), "{what}");
    assert!(server.log().contains("recovered report=jobs: 3 go on"), "the log has it too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_server_reports_what_ended_or_vanished_meanwhile() -> Result<()> {
    let mut server = busybox().await?;
    let client = server.client();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let session = client.session("nextjs").await?;
        let job = json!({ "command": ["/bin/busybox", "sh", "-c", "echo up; exec sleep 600"] });
        let job = client.submit(&session, &job).await?;
        client.follow(&session, 0, |frame| frame.event == "log").await?;
        let container = Engine::containers_of(&session)?.pop().context("its container is there")?;
        jobs.push((session, job, container));
    }
    server.kill()?;
    Engine::docker(&["kill", &jobs[0].2])?;
    Engine::docker(&["rm", "-f", &jobs[1].2])?;
    server.up().await?;
    for (session, job, _) in &jobs[..2] {
        client.until_finish(session).await?;
        let job = client.job(job).await?;
        assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("runtime_lost")), "{job}");
    }
    client.follow(&jobs[2].0, 0, |frame| frame.event == "job_reattached").await?;
    let end = Instant::now() + EXIT_TIMEOUT;
    let what = loop {
        let what = doctor(&server, "handover")?["what"].as_str().unwrap_or_default().to_owned();
        if what.contains("go on") || Instant::now() > end {
            break what;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(what.contains("1 go on, 1 had ended, 1 lost, 0 started again"), "{what}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_streams_clearly_and_the_server_soon_and_well() -> Result<()> {
    let settings = format!("{}\nruntime = \"process\"", settings());
    let mut server = Server::start(&settings, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = json!({ "command": ["/bin/sh", "-c", "echo up; sleep 600"] });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let stream = client.request(reqwest::Method::GET, &format!("/api/sessions/{session}/events"));
    let stream = stream.send().await?.error_for_status()?;
    let reading = tokio::spawn(stream.text());

    let began = Instant::now();
    server.terminate()?;
    ensure!(began.elapsed() < EXIT_TIMEOUT, "it took {:?}", began.elapsed());
    let text = reading.await?.context("the stream ends in order: it is not cut off")?;
    assert!(text.ends_with("\n\n"), "the last frame is whole: {text}");
    server.up().await?;
    assert_eq!(client.job(&job).await?["state"], "running", "the job never noticed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_sigterm_ends_the_server_at_once() -> Result<()> {
    let settings = format!("{}\nruntime = \"null\"\nserver.drain = \"5m\"", settings());
    let mut server = Server::start(&settings, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    // a request that never ends holds up the first one
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut slow = tokio::net::TcpStream::connect(&address).await?;
    let head = format!(
        "POST /api/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n",
        server.token()?
    );
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await?;
    assert_eq!(client.get("/healthz").await?.0, 200);
    server.signal(Signal::TERM)?;
    let end = Instant::now() + EXIT_TIMEOUT;
    while !server.log().contains("shutting down") {
        ensure!(Instant::now() < end, "it does not shut down");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let new = client.request(reqwest::Method::POST, &format!("/api/sessions/{session}/jobs"));
    let refused = new.json(&json!({ "command": ["/bin/true"] })).send().await?;
    let retry = refused.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert_eq!((refused.status().as_u16(), retry.as_deref()), (503, Some("5")), "{}", refused.text().await?);
    assert!(server.exit_status()?.is_none(), "it waits for the request under way");
    server.signal(Signal::TERM)?;
    while server.exit_status()?.is_none() {
        ensure!(Instant::now() < end, "it does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.exit_status()?.and_then(|status| status.code()), Some(1));
    Ok(())
}

/// What `mgx doctor` found in one check.
fn doctor(server: &Server, check: &str) -> Result<Value> {
    let output = server.command(&["doctor", "--json"]).output()?;
    let findings = String::from_utf8(output.stdout)?;
    let mut findings = findings.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
    findings.retain(|finding| finding["check"] == check);
    findings.pop().with_context(|| format!("doctor says nothing of {check}"))
}
