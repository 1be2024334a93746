//! Accounts when several processes share a MongoDB server, and the roles of processes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mgx_testkit::MongoServer;
use mgx_testkit::client::http;
use mgx_testkit::{Client, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The public address of the platform, whichever process answers.
const PUBLIC: &str = "https://mgx.example.org";

/// The process that schedules, with its store.
struct SchedulingServer {
    leader: Server,
    _store: MongoServer,
    _dir: TempDir,
}

impl SchedulingServer {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let store = MongoServer::start(dir.path())?;
        let url = store.url();
        let settings = format!("runtime = \"null\"\nstore.url = \"{url}\"\noauth2.public_url = \"{PUBLIC}\"");
        let mut leader = Server::start(&settings, &[]).await?;
        leader.wait_until_scheduling(Duration::from_secs(5)).await?;
        Ok(Self { leader, _store: store, _dir: dir })
    }
}

/// Registers a client for the client credentials grant; its secret.
async fn robot(at: &Client) -> Result<String> {
    let new = json!({
        "client_id": "robot", "name": "A robot", "confidential": true,
        "grant_types": ["client_credentials"], "scope": "read write", "audience": "mgx",
    });
    let (status, made) = at.post("/api/admin/clients", &new).await?;
    ensure!(status == 201, "{status} {made}");
    Ok(made["client_secret"].as_str().context("no secret")?.to_owned())
}

/// POSTs a form as the robot.
async fn as_robot(at: &Server, path: &str, secret: &str, form: &str) -> Result<(u16, Value)> {
    let request = http().post(format!("{}{path}", at.url())).basic_auth("robot", Some(secret));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
}

async fn token(at: &Server, secret: &str) -> Result<String> {
    let (status, given) =
        as_robot(at, "/oauth2/token", secret, "grant_type=client_credentials&scope=read+write").await?;
    ensure!(status == 200, "{status} {given}");
    Ok(given["access_token"].as_str().context("no token")?.to_owned())
}

/// Whether a process lets the token see event streams, which each serves by itself.
async fn is_let_in(at: &Server, token: &str) -> Result<bool> {
    let (status, answer) = Client::new(at.url(), token).get("/api/sessions/nobodys/events").await?;
    ensure!(status == 401 || status == 404, "{status} {answer}");
    Ok(status == 404)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_process_counts_at_every_other_until_it_is_taken_back() -> Result<()> {
    let SchedulingServer { leader, _store, _dir } = SchedulingServer::start().await?;
    let (second, third) = (leader.start_another().await?, leader.start_another().await?);
    let secret = robot(&second.client()).await?;
    let token = token(&third, &secret).await?;
    for process in [&leader, &second, &third] {
        assert!(is_let_in(process, &token).await?);
        let (status, sessions) = Client::new(process.url(), &token).get("/api/sessions").await?;
        assert_eq!(status, 200, "{sessions}");
    }
    let (status, _) = as_robot(&second, "/oauth2/revoke", &secret, &format!("token={token}")).await?;
    assert_eq!(status, 200);
    assert!(!is_let_in(&second, &token).await?, "where it was taken back, at once");
    let end = Instant::now() + Duration::from_secs(3);
    while is_let_in(&leader, &token).await? || is_let_in(&third, &token).await? {
        ensure!(Instant::now() < end, "another process still takes it");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_may_be_a_process_of_its_own() -> Result<()> {
    let SchedulingServer { leader, _store, _dir } = SchedulingServer::start().await?;
    let provider = leader.start_another_with("server.roles = \"oauth2\"").await?;
    let api = leader.start_another_with("server.roles = \"api\"").await?;
    let secret = robot(&api.client()).await?;
    let token = token(&provider, &secret).await?;
    assert!(is_let_in(&api, &token).await?);

    let (status, metadata) = provider.client().get("/oauth2/.well-known/openid-configuration").await?;
    assert_eq!((status.as_u16(), &metadata["issuer"]), (200, &json!(format!("{PUBLIC}/oauth2"))));
    let (status, keys) = provider.client().get("/oauth2/jwks").await?;
    assert!(status == 200 && keys["keys"].as_array().is_some_and(|keys| keys.len() == 2), "{keys}");
    let login = http().get(format!("{}/oauth2/login", provider.url())).send().await?;
    assert_eq!(login.status(), 200);
    let (status, refused) = provider.client().get("/api/sessions").await?;
    assert!(status == 404 && refused["detail"].to_string().contains("provider alone"), "{refused}");

    for path in ["/oauth2/token", "/oauth2/jwks"] {
        let (status, elsewhere) = api.client().get(path).await?;
        assert!(status == 404 && elsewhere["detail"].to_string().contains(PUBLIC), "{elsewhere}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_alone_needs_no_other_store() -> Result<()> {
    let provider = Server::start("server.roles = \"oauth2\"", &[]).await?;
    let (status, metadata) = provider.client().get("/.well-known/oauth-authorization-server/oauth2").await?;
    assert_eq!(status, 200, "{metadata}");
    Ok(())
}
