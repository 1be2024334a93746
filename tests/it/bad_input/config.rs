//! Configurations with which the server must not start (C1). Elsewhere, in `mgx`: every value that is wrong or contradicts another
//! (`tests/config.rs`), and the exit code of every command (`tests/command.rs`). There are no profiles, and there is one
//! port.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use mgx_testkit::Server;
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_that_is_none_or_that_others_can_read_starts_nothing() -> Result<()> {
    for (file, text, mode, said) in [
        ("admin.token", "mgx_admin_0123456789abcdef", 0o644, "only its owner may read it"),
        ("admin.token", "admin", 0o600, "holds no token"),
        ("admin.token", "", 0o600, "holds no token"),
        ("oauth2.key", "", 0o600, "is not a file of signing keys"),
        ("oauth2.key", "{}", 0o640, "is open to others"),
        ("attempt.key", "", 0o600, "the token key is not"),
        ("attempt.key", "0123456789abcdef0123456789abcdef", 0o644, "is open to others"),
        ("app.key", "short", 0o600, "the token key is not"),
    ] {
        let server = Server::prepare("runtime = \"null\"", &[])?;
        fs::create_dir(server.data_dir())?;
        let path = server.data_dir().join(file);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        let ended = server.command(&["up"]).output()?;
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(78), "{file} {text:?} {mode:o}: {errors}");
        assert!(errors.contains(said), "{file} {text:?} {mode:o}: {errors}");
        assert!(text.len() < 16 || !errors.contains(text), "{errors}");
        assert_eq!(fs::read_to_string(&path)?, text, "it is left as it is");
    }
    Ok(())
}

#[tokio::test]
async fn without_an_engine_it_serves_says_so_and_takes_jobs() -> Result<()> {
    let settings = format!(
        "{}\nruntime = \"docker\"\ndocker.host = \"unix:///nobody/listens.sock\"",
        crate::jobs::session::settings()
    );
    let mut server = Server::prepare(&settings, &[])?;
    server.spawn()?;
    server.wait_until_serving().await?;
    let client = server.client();
    let ready = client.request(reqwest::Method::GET, "/readyz").send().await?;
    assert_eq!(ready.status(), 503);
    let problem: Value = ready.json().await?;
    assert_eq!(problem["code"], "runtime-unavailable");
    assert!(!problem.to_string().contains("nobody"), "not where it is: {problem}");
    let session = client.session("nextjs").await?;
    let job = client.submit(&session, &json!({ "prompt": "Create a simple homepage" })).await?;
    client.follow(&session, 0, |frame| frame.event == "job_requeued" || frame.event == "job_queued").await?;
    assert!(!client.job(&job).await?["state"].to_string().contains("failed"), "it waits");
    Ok(())
}
