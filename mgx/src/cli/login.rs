//! `mgx login` and `mgx logout`: signing in from a terminal, by a yes in a browser (RFC 8628).

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mgx_client::{Client, Said};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::sleep;

use super::credentials::{Credentials, Login};
use super::out::{self, Failure, Outcome, harmless};
use crate::identity::CLI;

/// How to sign in.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// To administrate the platform too.
    #[arg(long)]
    admin: bool,
    /// Days until one has to sign in again.
    #[arg(long, default_value_t = 90, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// By how much to look less often, when the server says that we look too often (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Signs in to the server at `url`, and keeps an API token for it.
pub(crate) async fn run(url: &str, args: &Args) -> Outcome {
    let mut credentials = credentials()?;
    let client = Client::new(url, String::new().into())?;
    let scope = if args.admin { "read write admin" } else { "read write" };
    let token = allowed(&client, scope).await?;
    let client = Client::new(url, token)?;
    let me = client.me().await?;
    let user = me["user"].as_str().unwrap_or_default().to_owned();
    let end = Timestamp::now() + SignedDuration::from_hours(24 * i64::from(args.days));
    let name = format!("mgx login on {}", host());
    let made = client.make_token(None, &json!({ "name": name, "scope": scope, "expires_at": end })).await?;
    let id = made["id"].as_str().and_then(|id| id.parse().ok());
    let (Some(id), Some(text)) = (id, made["token"].as_str()) else {
        return Err(Failure::new("the server has made no token"));
    };
    if let Some(before) = credentials.of(url) {
        // one that is left over from before; if it counts no more, so much the better
        client.revoke_token(None, &before.id.to_string()).await.ok();
    }
    let login = Login { user: user.clone(), id, token: text.to_owned().into() };
    credentials.keep(url, Some(login)).map_err(unwritable)?;
    let path = credentials.path().display();
    out::line(format_args!("signed in to {url} as {}; the token is in {path}", harmless(&user)));
    Ok(ExitCode::SUCCESS)
}

/// Forgets the token for the server at `url`, and takes it back.
pub(crate) async fn logout(url: &str) -> Outcome {
    let mut credentials = credentials()?;
    let Some(login) = credentials.of(url).cloned() else {
        out::note(format_args!("nobody is signed in to {url}"));
        return Ok(ExitCode::SUCCESS);
    };
    let client = Client::new(url, login.token.expose_secret().to_owned().into())?;
    let taken_back = client.revoke_token(None, &login.id.to_string()).await;
    credentials.keep(url, None).map_err(unwritable)?;
    if let Err(error) = taken_back {
        out::note(format_args!("the token is forgotten here, but the server has not taken it back: {error}"));
    }
    out::line(format_args!("signed out of {url} ({})", harmless(&login.user)));
    Ok(ExitCode::SUCCESS)
}

/// Asks somebody, and waits for their yes.
async fn allowed(client: &Client, scope: &str) -> Result<SecretString, Failure> {
    let login = client.begin_login(CLI, scope).await?;
    out::line(format_args!("open {}", harmless(&login.verification_uri_complete)));
    out::line(format_args!("and say yes if it shows {}", harmless(&login.user_code)));
    let end = Instant::now() + Duration::from_secs(login.expires_in);
    let mut pause = Duration::from_secs(login.interval.clamp(1, 60));
    while Instant::now() < end {
        sleep(pause).await;
        match client.poll_login(CLI, &login).await? {
            Said::Yes(token) => return Ok(token),
            Said::Nothing => {}
            Said::TooFast => pause += SLOWER,
            Said::No => return Err(Failure::new("nobody said yes in the browser")),
        }
    }
    Err(Failure::new("nobody said yes in the browser in time; try again"))
}

fn credentials() -> Result<Credentials, Failure> {
    let found = Credentials::of_this_user().map_err(|error| Failure::new(error.to_string()))?;
    found.ok_or_else(|| Failure::new("there is no place for the token; set HOME, or XDG_CONFIG_HOME"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn unwritable(error: std::io::Error) -> Failure {
    Failure::new(format!("cannot keep the token: {error}"))
}

/// This machine's name.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(60).collect()
}
