//! The image of the jobs' containers: one of the operator's is used as it is, and never written to.

use anyhow::{Context, Result, ensure};
use mgx_testkit::{Client, Engine, Server};
use serde_json::{Value, json};

use crate::jobs::session::settings;

/// The image of the operator that these tests play.
const YOURS: &str = "mgx-test-of-an-operator:1";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_the_operators_is_used_as_it_is_and_missed_when_it_is_gone() -> Result<()> {
    let base = Server::prepare(&settings(), &[])?;
    let own = base.command(&["images", "--quiet"]).output()?;
    ensure!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
    let own = String::from_utf8(own.stdout)?;
    assert!(own.starts_with("mgx-agent:") && own.trim().len() == "mgx-agent:".len() + 12, "{own:?}");
    // built from an older agent-runner: its label is not that of this build
    let older = Older::build(own.trim())?;
    let server = Server::start(&format!("{}\nagent.image = \"{YOURS}\"", settings()), &[]).await?;
    let client = server.client();

    let job = ended(&client, &json!({ "command": ["/bin/busybox", "sh", "-c", "cat /marker"] })).await?;
    assert_eq!((&job["state"], &job["exit"]["code"]), (&json!("succeeded"), &json!(0)), "{job}");
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(
        doctor.contains(&format!("{YOURS} (agent.image, yours) is present, and used as it is")),
        "{doctor}"
    );
    let images = String::from_utf8(server.command(&["images"]).output()?.stdout)?;
    assert!(images.starts_with(&format!("{YOURS}  present")), "{images}");
    assert_eq!(id(YOURS)?, older.id, "its name is its own");

    Engine::docker(&["rmi", "-f", YOURS])?;
    let job = ended(&client, &json!({ "command": ["/bin/busybox", "true"] })).await?;
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("image_missing")), "{job}");
    let error = job["error"].as_str().unwrap_or_default();
    assert!(error.contains(YOURS) && error.contains("docs/images.md"), "{error}");
    assert!(id(YOURS).is_err(), "nothing was built under its name");
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(doctor.contains(&format!("{YOURS} (agent.image) is not in the engine")), "{doctor}");
    ensure!(!server.command(&["images"]).status()?.success(), "it is said there too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_starts_something_else_fails_with_the_reason() -> Result<()> {
    let name = "mgx-test-of-an-operator:without-runner";
    let dir = tempfile::tempdir()?;
    std::fs::copy("/bin/busybox", dir.path().join("sh"))?;
    std::fs::write(
        dir.path().join("Dockerfile"),
        "FROM scratch\nCOPY sh /bin/sh\nENTRYPOINT [\"/bin/sh\"]\n",
    )?;
    build(name, dir.path())?;
    let more = format!("agent.image = \"{name}\"\nscheduler.start_tries = 1");
    let server = Server::start(&format!("{}\n{more}", settings()), &[]).await?;
    let job = ended(&server.client(), &json!({ "command": ["true"] })).await?;
    assert_eq!((&job["state"], &job["reason"]), (&json!("failed"), &json!("start_failed")), "{job}");
    let error = job["error"].as_str().unwrap_or_default();
    assert!(error.contains("its entry point has to be an agent-runner"), "{error}");
    let doctor = String::from_utf8(server.command(&["doctor"]).output()?.stdout)?;
    assert!(doctor.contains("it starts /bin/sh"), "{doctor}");
    drop(server);
    Engine::docker(&["rmi", "-f", name]).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platforms_image_with_a_shell_runs_commands() -> Result<()> {
    let server = Server::start(&format!("{}\nagent.image = \"mgx-base\"", settings()), &[]).await?;
    let job = ended(&server.client(), &json!({ "command": ["sh", "-c", "seq 3 | grep 3 && ls /workspace"] }))
        .await?;
    assert_eq!(job["state"], "succeeded", "{job}");
    Ok(())
}

/// An image that is built from the platform's, and says so with the label of another content.
struct Older {
    id: String,
}

impl Older {
    fn build(own: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        std::fs::copy("/bin/busybox", dir.path().join("busybox"))?;
        std::fs::write(dir.path().join("marker"), "of the operator\n")?;
        let lines = [
            &format!("FROM {own}"),
            "COPY busybox /bin/busybox",
            "COPY marker /marker",
            "LABEL mgx.runner=0000000000000000000000000000000000000000000000000000000000000000",
        ];
        std::fs::write(dir.path().join("Dockerfile"), lines.join("\n"))?;
        build(YOURS, dir.path())?;
        Ok(Self { id: id(YOURS)? })
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        drop(Engine::docker(&["rmi", "-f", YOURS]));
    }
}

fn build(name: &str, directory: &std::path::Path) -> Result<()> {
    let mut command = std::process::Command::new(Engine::name());
    let path = directory.to_str().context("a path that is not UTF-8")?;
    let output = command.env("DOCKER_BUILDKIT", "0").args(["build", "-q", "-t", name, path]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn id(image: &str) -> Result<String> {
    Engine::docker(&["image", "inspect", "--format", "{{.Id}}", image])
}

/// Runs a job; what became of it.
async fn ended(client: &Client, job: &Value) -> Result<Value> {
    let session = client.session("nextjs").await?;
    let id = client.submit(&session, job).await?;
    client.until_finish(&session).await?;
    client.job(&id).await
}
