//! Planted secrets appear nowhere: not in the store, the log, the events, the answers or the engine's reports.

use std::fs;

use anyhow::{Context, Result};
use mgx_apps::AttemptTokens;
use mgx_protocol::Attempt;
use mgx_testkit::{Engine, ModelProvider};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::jobs::session::busybox_in;

const KEY: &str = "sk-canary-9d27-never-anywhere";
const PASSWORD: &str = "canary lamps glow at night";

const GIVEN: &str = "canary-given-to-a-job";
const GIVEN_TOKEN: &str = "canary-token-given-to-a-job-that-is-longer-than-one-line-of-30-characters";
const LOOKS_LIKE_ONE: &str = "ghp_canaryCANARY0123456789canaryCANARY";

/// Prints the secrets of its environment: in one line, in several, and in one that is so long that it is cut.
const COMMAND: &str = "echo \"<$OPENAI_API_KEY>\" > /workspace/token; echo \"I am $SHOP_TOKEN with $SHOP_PASSWORD\"; \
    echo \"$SHOP_TOKEN\" | fold -w 30; printf '%10200s%s\\n' x $SHOP_TOKEN >&2; \
    echo ghp_canaryCANARY0123456789canaryCANARY; echo told; exec /bin/busybox sleep 600";

#[tokio::test(flavor = "multi_thread")]
async fn planted_secrets_are_found_nowhere() -> Result<()> {
    let provider = ModelProvider::start().await?;
    let env = [
        ("OPENAI_BASE_URL", &*provider.url),
        ("OPENAI_API_KEY", KEY),
        ("MGX_OAUTH2__ADMIN_PASSWORD", PASSWORD),
        ("MGX_LOG__LEVEL", "trace"),
    ];
    let server = busybox_in("", &env).await?;
    let client = server.client();
    let session = client.session("nextjs").await?;

    // the team's runner has the token of its attempt
    let teams = client.session("nextjs").await?;
    let team = client.submit(&teams, &json!({ "prompt": "Write notes" })).await?;
    let said_by_team = client.until_finish(&teams).await?;
    let tokens = AttemptTokens::load_or_create(&server.data_dir().join("attempt.key"))?;
    let attempt = tokens.mint(team.parse()?, Attempt(1)).expose_secret().to_owned();
    assert!(attempt.starts_with("mgx_at_"), "{attempt:?}");

    // a command has none; it prints the secrets that the caller gave it
    let env = json!({ "SHOP_PASSWORD": GIVEN, "SHOP_TOKEN": GIVEN_TOKEN });
    let command = json!({ "command": ["/bin/busybox", "sh", "-c", COMMAND], "env": env });
    let job = client.submit(&session, &command).await?;
    client.follow(&session, 0, |frame| frame.data["data"]["text"] == "told").await?;
    let inspected = Engine::inspect(&server.container_of(&session, &job)?)?.to_string();
    let seen = fs::read_to_string(server.data_dir().join(format!("workspaces/{session}/token")))?;
    assert_eq!(seen.trim(), "<>", "a command has no token of the model");

    // the password is sent as it is when a user signs in
    let form =
        client.request(Method::POST, "/oauth2/login").body(format!("username=admin&password={PASSWORD}"));
    form.header("content-type", "application/x-www-form-urlencoded").send().await?;

    // a token of a user's, and a client's secret, as they are given out
    let (_, api) = client.post("/api/tokens", &json!({ "name": "canary", "scope": "read" })).await?;
    let new = json!({ "name": "Canary", "confidential": true, "redirect_uris": ["https://canary.example/"] });
    let (_, registered) = client.post("/api/admin/clients", &new).await?;
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned).context("a secret");
    client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await?;
    let frames = client.until_finish(&session).await?;

    let canaries = [
        ("the key of the model", KEY.to_owned()),
        ("the administrator's password", PASSWORD.to_owned()),
        ("the administrator's token", server.token()?),
        ("the attempt's token", attempt.clone()),
        ("the end of the attempt's token", attempt[attempt.len() - 30..].to_owned()),
        ("an API token", text(&api, "token")?),
        ("a client's secret", text(&registered, "client_secret")?),
        // those of other clients: the app of the session, above all
        ("something that looks like a client's secret", "mgx_cs_".to_owned()),
        ("something that looks like an API token", "mgx_pat_".to_owned()),
    ];
    let mut places = vec![
        ("events", format!("{frames:?} {said_by_team:?}")),
        ("inspect", inspected),
        ("log", server.log()),
    ];
    for path in [
        "/api/jobs",
        "/api/sessions",
        "/api/tokens",
        "/api/admin/clients",
        "/api/admin/users",
        "/api/admin/audit",
    ] {
        places.push((path, client.get(path).await?.1.to_string()));
    }
    for file in ["mgx.db", "mgx.db-wal", "handover.json"] {
        let kept = fs::read(server.data_dir().join(file)).unwrap_or_default();
        places.push((file, String::from_utf8_lossy(&kept).into_owned()));
    }
    for (place, text) in &places {
        for (name, canary) in &canaries {
            assert!(!text.contains(canary), "{name} is in {place}");
        }
    }
    // what the job was given with its command is stored with it, and not told by it
    let given_end = &GIVEN_TOKEN[GIVEN_TOKEN.len() - 30..];
    for (name, canary) in [
        ("its password", GIVEN),
        ("its token", GIVEN_TOKEN),
        ("the end of its token", given_end),
        ("somebody else's token", LOOKS_LIKE_ONE),
    ] {
        assert!(!places[0].1.contains(canary), "{name} is in events");
    }
    // and the search finds what is there
    assert!(places[0].1.contains("told") && places[2].1.contains("ready"));
    assert!(places[0].1.contains("I am [redacted] with [redacted]"), "{}", places[0].1);
    Ok(())
}
