//! `mgx token`: what one gives to a program of one's own instead of a password.

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use mgx_client::Client;
use mgx_oauth2::Username;
use serde_json::json;
use uuid::Uuid;

use super::show;
use crate::cli::out::{self, Failure, Outcome, harmless};

/// What to do about API tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make an API token, and show it once.
    Create {
        /// What it is called.
        name: String,
        /// What it is good for: any of `read`, `write` and `admin`.
        #[arg(long, default_value = "read write", value_name = "WORDS")]
        scope: String,
        /// Days until it ends; never by itself if absent.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        days: Option<u16>,
        /// Of this user, for administrators; one's own if absent.
        #[arg(long, value_name = "NAME")]
        user: Option<Username>,
    },
    /// List API tokens.
    List {
        /// Of this user, for administrators; one's own if absent.
        #[arg(long, value_name = "NAME")]
        user: Option<Username>,
        /// One JSON object on each line.
        #[arg(long)]
        json: bool,
    },
    /// Take an API token back: it counts no more at once.
    Revoke {
        /// The token's id.
        id: Uuid,
        /// Of this user, for administrators; one's own if absent.
        #[arg(long, value_name = "NAME")]
        user: Option<Username>,
    },
}

/// Does it.
pub(crate) async fn run(client: &Client, command: &Command) -> Outcome {
    match command {
        Command::Create { name, scope, days, user } => {
            let end = days.map(|days| Timestamp::now() + SignedDuration::from_hours(24 * i64::from(days)));
            let new = json!({ "name": name, "scope": scope, "expires_at": end });
            let made = client.make_token(text(user.as_ref()), &new).await?;
            out::line(harmless(made["token"].as_str().unwrap_or_default()));
            out::note("shown this once; `mgx token list` knows it by its name");
        }
        Command::List { user, json } => {
            let list = client.tokens(text(user.as_ref())).await?;
            let rows = list["tokens"].as_array().map_or(&[][..], Vec::as_slice);
            let columns = [
                ("TOKEN", "id"),
                ("NAME", "name"),
                ("SCOPE", "scope"),
                ("SINCE", "created_at"),
                ("UNTIL", "expires_at"),
            ];
            show(rows, *json, &columns);
        }
        Command::Revoke { id, user } => {
            if !client.revoke_token(text(user.as_ref()), &id.to_string()).await? {
                return Err(Failure::new(format!("there is no token {id}; `mgx token list` lists them")));
            }
            out::line(format_args!("token {id} counts no more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(user: Option<&Username>) -> Option<&str> {
    user.map(Username::as_str)
}
