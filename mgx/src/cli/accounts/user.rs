//! `mgx user`: the users who may sign in.

use std::io::Read;
use std::process::ExitCode;

use mgx_client::Client;
use mgx_client::accounts::user::{NewUser, User, UserChange};
use mgx_oauth2::Username;
use secrecy::SecretString;

use super::{joined, or_dash, shown_once};
use crate::cli::out::table::{Column, Form};
use crate::cli::out::{self, Failure, Outcome};

/// What to do with users.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Add a user. A random password is printed once.
    Add {
        /// The name that the user signs in with; it cannot be changed.
        name: Username,
        /// The name that others see; the same as NAME if absent.
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// The user's e-mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// A group, such as `admin` for administrators; can be repeated.
        #[arg(long = "group", value_name = "NAME")]
        groups: Vec<String>,
        /// Read the password from the first line of standard input, instead of making a random one.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Disable a user: signed out, tokens revoked, no new sign-in. The user's sessions and files stay.
    Disable {
        /// The user's name; `mgx user list` lists them.
        name: Username,
    },
    /// Let a disabled user sign in again.
    Enable {
        /// The user's name; `mgx user list` lists them.
        name: Username,
    },
    /// Set a user's password. A random one is printed once. The user is signed out everywhere.
    Passwd {
        /// The user's name; `mgx user list` lists them.
        name: Username,
        /// Read the password from the first line of standard input, instead of making a random one.
        #[arg(long)]
        password_stdin: bool,
    },
}

/// The columns of users.
const COLUMNS: [Column<User>; 8] = [
    Column::new("USER", |user, _| user.name.clone()),
    Column::new("NAME", |user, _| user.display_name.clone()),
    Column::new("E-MAIL", |user, _| or_dash(user.email.clone())),
    Column::new("GROUPS", |user, _| or_dash(Some(joined(&user.groups)))),
    Column::new("STATE", |user, _| if user.disabled { "disabled" } else { "active" }.to_owned()),
    Column::new("ADDED", |user, look| look.time(user.created_at)),
    Column::further("CHANGED", |user, look| look.time(user.updated_at)),
    Column::further("ID", |user, look| look.id(&user.id.to_string())),
];

/// Runs the command.
pub(crate) async fn run(client: &Client, command: &Command) -> Outcome {
    match command {
        Command::Add { name, display_name, email, groups, password_stdin } => {
            let new = NewUser {
                name: name.to_string(),
                display_name: display_name.clone(),
                email: email.clone(),
                groups: groups.clone(),
                password: password_stdin.then(read_password).transpose()?,
            };
            let user = client.add_user(&new).await?;
            let password = shown_once("password", user.password.as_ref());
            out::line(format_args!("user {name} is added{password}"));
        }
        Command::List { form } => {
            form.show(&client.users().await?, |user| user.name.clone(), &COLUMNS);
        }
        Command::Disable { name } => {
            set_disabled(client, name, true).await?;
            out::line(format_args!("user {name} is signed out and disabled"));
        }
        Command::Enable { name } => {
            set_disabled(client, name, false).await?;
            out::line(format_args!("user {name} may sign in"));
        }
        Command::Passwd { name, password_stdin } => {
            let password = password_stdin.then(read_password).transpose()?;
            let user = client.set_password(name.as_str(), password).await?.ok_or_else(|| unknown(name))?;
            let password = shown_once("password", user.password.as_ref());
            out::line(format_args!("user {name} has a new password{password}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn set_disabled(client: &Client, name: &Username, disabled: bool) -> Result<(), Failure> {
    let change = UserChange { disabled: Some(disabled), ..UserChange::default() };
    client.change_user(name.as_str(), &change).await?.map(drop).ok_or_else(|| unknown(name))
}

fn unknown(name: &Username) -> Failure {
    Failure::new(format!("there is no user {name}; `mgx user list` lists them"))
}

/// The password on standard input. A password is never an argument: every process of the machine can read those.
fn read_password() -> Result<SecretString, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(4096).read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("cannot read the password: {error}")))?;
    Ok(text.lines().next().unwrap_or_default().into())
}
