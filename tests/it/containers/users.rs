//! An engine that maps the users of containers to others of the host: jobs can write, or are refused with the line to write.

use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use mgx_testkit::{Client, Dockerd, Server};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_write_to_their_workspaces_where_users_are_mapped() -> Result<()> {
    if !Dockerd::is_possible() {
        eprintln!("skipped: it takes root and dockerd");
        return Ok(());
    }
    let dockerd = Dockerd::with_mapped_users()?;
    let engine =
        format!("runtime = \"docker\"\ndocker.host = \"{}\"\nagent.image = \"mgx-base\"", dockerd.host());
    let server = Server::start(&engine, &[]).await?;
    let session = write(&server.client()).await?;
    let (job, made) = (&session.1, server.data_dir().join(format!("workspaces/{}/made", session.0)));
    assert_eq!(job["state"], "succeeded", "{job}");
    let owner = made.metadata()?.uid();
    assert!(owner > 65_536, "the file belongs to a mapped user, not to {owner}");
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(
        doctor.contains(&format!("the engine maps user 10001 of jobs to {owner} of the host")),
        "{doctor}"
    );

    let wrong = format!("{engine}\nworkspaces.owner = \"10001:10001\"\nscheduler.start_tries = 1");
    let server = Server::start(&wrong, &[]).await?;
    let (_, job) = write(&server.client()).await?;
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("start_failed")), "{job}");
    let line = format!("owner = \"{owner}:");
    assert!(job["error"].as_str().is_some_and(|error| error.contains(&line)), "{job}");
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(doctor.contains("FAIL  users") && doctor.contains(&line), "{doctor}");
    Ok(())
}

/// A session whose job has written a file, and what became of that job.
async fn write(client: &Client) -> Result<(String, Value)> {
    let session = client.session("nextjs").await?;
    let command =
        json!(["sh", "-c", "echo hi > made && mkdir -p a/b && rm package.json && echo hi >> README.md"]);
    let id = client.submit(&session, &json!({ "command": command })).await?;
    client.until_finish(&session).await?;
    Ok((session, client.job(&id).await?))
}
