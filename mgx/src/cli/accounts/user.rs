//! `mgx user`: the people who may sign in.

use std::io::Read;
use std::process::ExitCode;

use mgx_client::{Client, Listed};
use mgx_oauth2::Username;
use serde_json::{Map, Value, json};

use super::show;
use crate::cli::out::{self, Failure, Outcome, harmless};

/// What to do about users.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Add a user. A random password is shown once.
    Add {
        /// What they sign in with, for ever.
        name: Username,
        /// What others are shown.
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Their e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// A group, such as `admin`; may be given again.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// Read their password from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users.
    List {
        /// One JSON object on each line.
        #[arg(long)]
        json: bool,
    },
    /// Let nobody sign in as this user any more. They are signed out, their tokens count no more; their things stay.
    Disable {
        /// The user.
        name: Username,
    },
    /// Let a user sign in again.
    Enable {
        /// The user.
        name: Username,
    },
    /// Give a user a new password. A random one is shown once. They are signed out everywhere.
    Passwd {
        /// The user.
        name: Username,
        /// Read it from the first line of standard input.
        #[arg(long)]
        password_stdin: bool,
    },
}

/// Does it.
pub(crate) async fn run(client: &Client, command: &Command) -> Outcome {
    match command {
        Command::Add { name, display_name, email, groups, password_stdin } => {
            let mut new = password(*password_stdin)?;
            new.insert("name".to_owned(), json!(name));
            new.insert("groups".to_owned(), json!(groups));
            for (key, value) in [("display_name", display_name), ("email", email)] {
                new.extend(value.as_ref().map(|value| (key.to_owned(), json!(value))));
            }
            let user = client.add(Listed::Users, &new).await?;
            out::line(format_args!("user {name} is added{}", shown(&user)));
        }
        Command::List { json } => {
            let columns = [
                ("NAME", "name"),
                ("SHOWN AS", "display_name"),
                ("GROUPS", "groups"),
                ("DISABLED", "disabled"),
                ("SINCE", "created_at"),
            ];
            show(&client.all(Listed::Users).await?, *json, &columns);
        }
        Command::Disable { name } => {
            change(client, name, true).await?;
            out::line(format_args!("user {name} is signed out and disabled"));
        }
        Command::Enable { name } => {
            change(client, name, false).await?;
            out::line(format_args!("user {name} may sign in"));
        }
        Command::Passwd { name, password_stdin } => {
            let given = client.set_password(name.as_str(), &password(*password_stdin)?).await?;
            let given = given.ok_or_else(|| unknown(name))?;
            out::line(format_args!("user {name} has a new password{}", shown(&given)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(client: &Client, name: &Username, disabled: bool) -> Result<(), Failure> {
    let changed = client.change_user(name.as_str(), &json!({ "disabled": disabled })).await?;
    changed.map(drop).ok_or_else(|| unknown(name))
}

fn unknown(name: &Username) -> Failure {
    Failure::new(format!("there is no user {name}; `mgx user list` lists them"))
}

/// The random password, this once.
fn shown(user: &Value) -> String {
    user["password"].as_str().map(|text| format!("; the password is {}", harmless(text))).unwrap_or_default()
}

/// The password of standard input, if it is wanted. Never an argument: everybody on the machine can read those.
fn password(wanted: bool) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    if wanted {
        let mut text = String::new();
        let read = std::io::stdin().take(4096).read_to_string(&mut text);
        read.map_err(|error| Failure::new(format!("cannot read the password: {error}")))?;
        let line = text.lines().next().unwrap_or_default();
        fields.insert("password".to_owned(), json!(line));
    }
    Ok(fields)
}
