//! What authentication costs: the same request with each kind of token, on one connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mgx_testkit::Server;
use mgx_testkit::client::http;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::connections::slow::answer;

const PASSWORD: &str = "seven grey herons wade";
const TIMES: usize = 2000;
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures: for a quiet machine and a release build; `just judge oauth-timing` runs it"]
async fn an_access_token_is_verified_within_fifty_microseconds() -> Result<()> {
    let env = [("MGX_OAUTH2__ADMIN_PASSWORD", PASSWORD)];
    let settings = "runtime = \"null\"\noauth2.password_login = true\nlog.level = \"error\"";
    let server = Server::start(settings, &env).await?;
    let form = format!("username=admin&password={}&scope=read", PASSWORD.replace(' ', "+"));
    let login = http().post(format!("{}/oauth2/token", server.url())).body(form);
    let login = login.header("content-type", "application/x-www-form-urlencoded").send().await?;
    let login: Value = login.json().await?;
    let (_, made) = server.client().post("/api/tokens", &json!({ "name": "x", "scope": "read" })).await?;
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned).context("a token");
    let tokens = [
        ("administrator's token", server.token()?),
        ("access token", text(&login, "access_token")?),
        ("API token", text(&made, "token")?),
    ];
    let address: SocketAddr = server.url().trim_start_matches("http://").parse()?;
    let mut medians = BTreeMap::<&str, Vec<Duration>>::new();
    for _ in 0..ROUNDS {
        for (name, token) in &tokens {
            medians.entry(name).or_default().push(median(address, token).await?);
        }
    }
    // the quietest round of each: what else the machine did is not what is measured
    let best = |name: &str| medians[name].iter().min().copied().unwrap_or_default();
    let (plain, access, api) = (best(tokens[0].0), best(tokens[1].0), best(tokens[2].0));
    println!(
        "GET /api/me: {plain:?} with the administrator's token; an access token adds {:?}, an API token {:?}",
        access.saturating_sub(plain),
        api.saturating_sub(plain)
    );
    assert!(access.saturating_sub(plain) <= Duration::from_micros(50), "{medians:?}");
    Ok(())
}

async fn median(address: SocketAddr, token: &str) -> Result<Duration> {
    let request = format!("GET /api/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let began = Instant::now();
        socket.write_all(request.as_bytes()).await?;
        let answer = answer(&mut socket).await?;
        times.push(began.elapsed());
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    times.sort_unstable();
    Ok(times[TIMES / 2])
}
