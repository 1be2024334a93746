//! `mgx login` and `mgx logout`: sign in from a terminal with a browser (RFC 8628), and sign out.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mgx_client::accounts::login::LoginStatus;
use mgx_client::accounts::token::NewApiToken;
use mgx_client::{Address, Client};
use secrecy::SecretString;
use tokio::time::sleep;

use crate::cli::credentials::{Credentials, Login};
use crate::cli::out::{self, Failure, Outcome, harmless};
use crate::server::identity::CLI_CLIENT;

/// How to sign in.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sign in with the right to administrate the platform too.
    #[arg(long)]
    admin: bool,
    /// Days until the login expires.
    #[arg(long, default_value_t = 90, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// What is added to the pause between two polls if the server asks to poll less often (RFC 8628 section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// Signs in to the server at `address`, and keeps an API token for that server.
pub(crate) async fn run(address: &Address, args: &Args) -> Outcome {
    let mut credentials = credentials()?;
    let client = Client::new(address.as_str(), String::new().into())?;
    let scope = if args.admin { "read write admin" } else { "read write" };
    let token = authorize(&client, scope).await?;
    let client = Client::new(address.as_str(), token)?;
    let user = client.me().await?.user;
    let end = Timestamp::now() + SignedDuration::from_hours(24 * i64::from(args.days));
    let name = format!("mgx login on {}", host());
    let new = NewApiToken { name, scope: scope.to_owned(), expires_at: Some(end) };
    let made = client.make_token(None, &new).await?;
    let Some(token) = made.token else {
        return Err(Failure::new("the server has made no token"));
    };
    if let Some(previous) = credentials.of(address) {
        // the token of the login before; an error means that it is invalid already
        client.revoke_token(None, previous.id).await.ok();
    }
    let login = Login { user: user.clone(), id: made.id, token };
    credentials.keep(address, Some(login)).map_err(unwritable)?;
    let path = credentials.path().display();
    out::line(format_args!("signed in to {address} as {}; the token is in {path}", harmless(&user)));
    Ok(ExitCode::SUCCESS)
}

/// Revokes the token for the server at `address`, and forgets it.
pub(crate) async fn logout(address: &Address) -> Outcome {
    let mut credentials = credentials()?;
    let Some(login) = credentials.of(address).cloned() else {
        out::note(format_args!("not signed in to {address}"));
        return Ok(ExitCode::SUCCESS);
    };
    let client = Client::new(address.as_str(), login.token.clone())?;
    let revoked = client.revoke_token(None, login.id).await;
    credentials.keep(address, None).map_err(unwritable)?;
    if let Err(error) = revoked {
        out::note(format_args!("the token is forgotten here, but the server has not revoked it: {error}"));
    }
    out::line(format_args!("signed out of {address} ({})", harmless(&login.user)));
    Ok(ExitCode::SUCCESS)
}

/// Prints the address at which the user agrees in a browser, and waits for the decision.
async fn authorize(client: &Client, scope: &str) -> Result<SecretString, Failure> {
    let login = client.begin_login(CLI_CLIENT, scope).await?;
    out::line(format_args!("open {}", harmless(&login.verification_uri_complete)));
    out::line(format_args!("and allow access if the page shows {}", harmless(&login.user_code)));
    let end = Instant::now() + Duration::from_secs(login.expires_in);
    let mut pause = Duration::from_secs(login.interval.clamp(1, 60));
    while Instant::now() < end {
        sleep(pause).await;
        match client.poll_login(CLI_CLIENT, &login).await? {
            LoginStatus::Allowed(token) => return Ok(token),
            LoginStatus::Pending => {}
            LoginStatus::SlowDown => pause += SLOW_DOWN,
            LoginStatus::Denied => return Err(Failure::new("access was not allowed in the browser")),
        }
    }
    Err(Failure::new("access was not allowed in the browser in time; try again"))
}

fn credentials() -> Result<Credentials, Failure> {
    let found = Credentials::of_this_user().map_err(|error| Failure::new(error.to_string()))?;
    found.ok_or_else(|| Failure::new("there is no directory for the token; set HOME or XDG_CONFIG_HOME"))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn unwritable(error: std::io::Error) -> Failure {
    Failure::new(format!("cannot keep the token: {error}"))
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().take(60).collect()
}
