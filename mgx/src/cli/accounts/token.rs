//! `mgx token`: API tokens, which a user gives to programs instead of a password.

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use mgx_client::Client;
use mgx_client::accounts::token::{ApiToken, NewApiToken};
use mgx_oauth2::Username;
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::cli::ids;
use crate::cli::out::table::{Column, Form};
use crate::cli::out::{self, Failure, Outcome, harmless};

/// What to do with API tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make an API token, and print it once.
    Create {
        /// The token's name, to tell it from others.
        name: String,
        /// What the token allows: any of `read`, `write` and `admin`, with spaces between.
        #[arg(long, default_value = "read write", value_name = "WORDS")]
        scope: String,
        /// Days until the token expires; it never does if absent.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        days: Option<u16>,
        /// The user that the token belongs to (for administrators); you if absent.
        #[arg(long, value_name = "NAME")]
        user: Option<Username>,
    },
    /// List API tokens.
    List {
        /// The user that the token belongs to (for administrators); you if absent.
        #[arg(long, value_name = "NAME")]
        user: Option<Username>,
        #[command(flatten)]
        form: Form,
    },
    /// Revoke an API token: it is invalid at once.
    Revoke {
        /// The token's id, or so much of it that it is the only one; `mgx token list` lists them.
        id: String,
        /// The user that the token belongs to (for administrators); you if absent.
        #[arg(long, value_name = "NAME")]
        user: Option<Username>,
    },
}

/// The columns of tokens.
const COLUMNS: [Column<ApiToken>; 5] = [
    Column::new("TOKEN", |token, look| look.id(&token.id.to_string())),
    Column::new("NAME", |token, _| token.name.clone()),
    Column::new("SCOPE", |token, _| token.scope.clone()),
    Column::new("MADE", |token, look| look.time(token.created_at)),
    Column::new("EXPIRES", |token, look| {
        token.expires_at.map_or_else(|| "never".to_owned(), |at| look.time(at))
    }),
];

/// Runs the command.
pub(crate) async fn run(client: &Client, command: &Command) -> Outcome {
    match command {
        Command::Create { name, scope, days, user } => {
            let end = days.map(|days| Timestamp::now() + SignedDuration::from_hours(24 * i64::from(days)));
            let new = NewApiToken { name: name.clone(), scope: scope.clone(), expires_at: end };
            let made = client.make_token(text(user.as_ref()), &new).await?;
            out::line(harmless(made.token.as_ref().map_or("", ExposeSecret::expose_secret)));
            out::note("shown this once; `mgx token list` knows it by its name");
        }
        Command::List { user, form } => {
            form.show(&client.tokens(text(user.as_ref())).await?, |token| token.id.to_string(), &COLUMNS);
        }
        Command::Revoke { id, user } => {
            let ids: Vec<Uuid> =
                client.tokens(text(user.as_ref())).await?.iter().map(|token| token.id).collect();
            let id = ids::one_of(&ids, id, "token", "`mgx token list` lists them")?;
            if !client.revoke_token(text(user.as_ref()), id).await? {
                return Err(Failure::new(format!("there is no token {id}; `mgx token list` lists them")));
            }
            out::line(format_args!("token {id} is revoked"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(user: Option<&Username>) -> Option<&str> {
    user.map(Username::as_str)
}
