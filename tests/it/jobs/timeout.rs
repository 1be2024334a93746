//! Deadlines: a job ends soon after its own, whatever it ignores and whatever happens to the platform and the clock.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use mgx_testkit::{Engine, WallClock};
use serde_json::json;

use crate::jobs::session::{busybox_in, busybox_with};

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
    // the runner ends the command at the deadline and the grace time without a platform, and keeps its report
    let end = Instant::now() + Duration::from_secs(6);
    while Engine::processes(name)?.len() != 1 {
        assert!(Instant::now() < end, "not only the runner is left: {:?}", Engine::processes(name));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.up().await?;
    client.until_finish(&session).await?;
    assert_eq!(client.job(&job).await?["state"], "timed_out");
    Ok(())
}

/// When the clock is set.
#[derive(Clone, Copy, Debug)]
enum Set {
    /// While the platform runs.
    Running,
    /// While it does not.
    Down,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_gets_its_time_although_the_clock_is_set() -> Result<()> {
    const HOUR: i64 = 3600;
    let cases = [(HOUR, Set::Running), (-HOUR, Set::Running), (HOUR, Set::Down), (-HOUR, Set::Down)];
    try_join_all(cases.map(|(seconds, set)| gets_its_time(seconds, set))).await?;
    Ok(())
}

/// A job that may run for 20 s does so, to two seconds, when the clock is set by `seconds` meanwhile.
async fn gets_its_time(seconds: i64, set: Set) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clock = WallClock::new(dir.path())?;
    let env = clock.env();
    let env = env.each_ref().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut server = busybox_in("agent.grace = \"1s\"", &env).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let command = ["/bin/busybox", "sh", "-c", "echo up; exec sleep 600"];
    let job = client.submit(&session, &json!({ "command": command, "timeout_s": 20 })).await?;
    client.follow(&session, 0, |frame| frame.event == "log").await?;
    let began = Instant::now();
    match set {
        Set::Running => clock.set(seconds)?,
        Set::Down => {
            server.kill()?;
            clock.set(seconds)?;
            server.up().await?;
        }
    }
    let later = client.session("nextjs").await?;
    let (_, later) = client.get(&format!("/api/sessions/{later}")).await?;
    let shown: Timestamp = later["created_at"].as_str().expect("a time").parse()?;
    let off = shown.duration_since(Timestamp::now()).as_secs();
    assert!((off - seconds).abs() < 60, "the clock was to be set by {seconds} s and is off by {off} s");

    client.until_finish(&session).await?;
    let ran = began.elapsed().as_secs_f64();
    assert!((18.0..22.0).contains(&ran), "{seconds} s, {set:?}: it ended after {ran} s");
    let job = client.job(&job).await?;
    assert_eq!(job["state"], "timed_out", "{seconds} s, {set:?}: {job}");
    let told = job["result"]["elapsed_seconds"].as_f64().unwrap_or_default();
    assert!((18.0..22.0).contains(&told), "{seconds} s, {set:?}: {job}");
    Ok(())
}
