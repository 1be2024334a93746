//! A data directory that was copied or moved, and a runtime that was changed while jobs run.

use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use mgx_testkit::{Client, Server};
use serde_json::{Value, json};

const SETTINGS: &str = "runtime = \"process\"";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// `mgx up` in the background on another data directory and port, and the `mgx down` for it.
fn up(server: &Server, data: &str, more: &[&str]) -> Result<(Output, Command)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let args = ["up", "--detach", "--data-dir", data, "--listen", &listen];
    let output = server.command(&[&args, more].concat()).output()?;
    let mut down = server.command(&["down"]);
    down.env("MGX_SERVER__DATA_DIR", data).env("MGX_SERVER__LISTEN", listen);
    Ok((output, down))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_data_does_not_take_itself_for_the_original() -> Result<()> {
    let mut server = Server::start(SETTINGS, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "command": ["/bin/sleep", "8"] })).await?;
    client.follow(&session, 0, |frame| frame.event == "job_running").await?;
    let data = server.command(&[]).get_current_dir().context("no directory")?.join("data");
    let copy = data.with_file_name("copy");
    ensure!(Command::new("cp").arg("-a").arg(&data).arg(&copy).status()?.success());
    let copy = copy.to_str().context("not UTF-8")?;

    let (refused, _) = up(&server, copy, &[])?;
    let text = said(&refused);
    ensure!(!refused.status.success() && text.contains("is a copy of"), "{text}");
    ensure!(text.contains("--new-instance"), "{text}");

    let (own, mut down) = up(&server, copy, &["--new-instance"])?;
    ensure!(own.status.success(), "{}", said(&own));
    // the original's job has run on undisturbed
    client.until_finish(&session).await?;
    ensure!(client.job(&job).await?["state"] == "succeeded");
    ensure!(down.status()?.success());

    // a directory that was moved is no copy
    server.kill()?;
    let moved = data.with_file_name("moved");
    std::fs::rename(&data, &moved)?;
    let (output, mut down) = up(&server, moved.to_str().context("not UTF-8")?, &[])?;
    ensure!(output.status.success(), "{}", said(&output));
    ensure!(down.status()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_runtime_leaves_the_jobs_of_the_first_one_alone() -> Result<()> {
    let mut server = Server::start(SETTINGS, &[]).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;
    let script = "echo run >> runs.log; sleep 30";
    let job = json!({ "command": ["/bin/sh", "-c", script], "retry": { "times": 1 } });
    let job = client.submit(&session, &job).await?;
    client.follow(&session, 0, |frame| frame.event == "job_running").await?;
    server.kill()?;

    let refused = server.command(&["up"]).env("MGX_RUNTIME", "null").output()?;
    let text = said(&refused);
    ensure!(!refused.status.success() && text.contains("run on process"), "{text}");
    ensure!(text.contains(&job) && text.contains("--give-up-jobs"), "{text}");

    let given_up =
        server.command(&["up", "--detach", "--give-up-jobs"]).env("MGX_RUNTIME", "null").output()?;
    ensure!(given_up.status.success(), "{}", said(&given_up));
    let client = Client::new(server.url(), &server.token()?);
    client.until_finish(&session).await?;
    let ended: Value = client.job(&job).await?;
    ensure!(ended["state"] == "failed" && ended["reason"] == "runtime_lost", "{ended}");
    ensure!(ended["attempt"] == 1, "a second run beside the first: {ended}");
    ensure!(server.command(&["down"]).status()?.success());
    Ok(())
}
