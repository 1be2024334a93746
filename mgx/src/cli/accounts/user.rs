//! `mgx user`: the users who may sign in.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use console::Term;
use mgx_client::Client;
use mgx_client::accounts::user::{NewUser, User, UserChange};
use mgx_oauth2::Username;
use secrecy::{ExposeSecret, SecretString};

use super::{joined, or_dash, shown_once};
use crate::cli::out::table::{Column, Form};
use crate::cli::out::{self, Failure, Outcome, harmless};

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
        /// Vouch that the address is the user's: clients are told that it is verified.
        #[arg(long, requires = "email")]
        email_verified: bool,
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
    /// Set a user's e-mail address.
    Email {
        /// The user's name; `mgx user list` lists them.
        name: Username,
        /// The address; none if absent.
        address: Option<String>,
        /// Vouch that the address is the user's: clients are told that it is verified.
        #[arg(long, requires = "address")]
        verified: bool,
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
    /// Change your own password, or set a user's as an administrator. The user is signed out everywhere.
    Passwd {
        /// The user whose password is set, a random one that is printed once. Without a name, you change your own: the
        /// current and the new password are asked for.
        name: Option<Username>,
        /// Read the password from the first line of standard input, instead of making a random one. Without a name: the
        /// current password from the first line, and the new one from the second.
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
        Command::Add { name, display_name, email, email_verified, groups, password_stdin } => {
            let new = NewUser {
                name: name.to_string(),
                display_name: display_name.clone(),
                email: email.clone(),
                email_verified: *email_verified,
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
        Command::Email { name, address, verified } => {
            let email = Some(address.clone().unwrap_or_default());
            let change = UserChange { email, email_verified: Some(*verified), ..UserChange::default() };
            let user = client.change_user(name.as_str(), &change).await?.ok_or_else(|| unknown(name))?;
            let said = if user.email_verified { ", verified" } else { "" };
            let address = harmless(user.email.as_deref().unwrap_or("none"));
            out::line(format_args!("the e-mail address of {name} is {address}{said}"));
        }
        Command::Disable { name } => {
            set_disabled(client, name, true).await?;
            out::line(format_args!("user {name} is signed out and disabled"));
        }
        Command::Enable { name } => {
            set_disabled(client, name, false).await?;
            out::line(format_args!("user {name} may sign in"));
        }
        Command::Passwd { name: None, password_stdin } => change_own(client, *password_stdin).await?,
        Command::Passwd { name: Some(name), password_stdin } => {
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

/// Changes the password of the user whose token the command has.
async fn change_own(client: &Client, stdin: bool) -> Result<(), Failure> {
    let (current, new) = if stdin {
        let text = read_stdin()?;
        let mut lines = text.lines();
        let mut next = || SecretString::from(lines.next().unwrap_or_default());
        (next(), next())
    } else {
        let current = ask("Current password")?;
        let (new, repeated) = (ask("New password")?, ask("New password, once more")?);
        if new.expose_secret() != repeated.expose_secret() {
            return Err(Failure::new("the two new passwords differ"));
        }
        (current, new)
    };
    if !client.change_password(current, new).await? {
        return Err(Failure::new("the token is a program's, which has no password"));
    }
    out::line("your password is changed, and you are signed out in all browsers");
    Ok(())
}

/// A password from the terminal, which does not show it.
fn ask(what: &str) -> Result<SecretString, Failure> {
    let terminal = Term::stderr();
    if !(std::io::stdin().is_terminal() && terminal.is_term()) {
        return Err(Failure::new("there is no terminal to ask for the password; use --password-stdin"));
    }
    let typed = terminal.write_str(&format!("{what}: ")).and_then(|()| terminal.read_secure_line());
    typed.map(SecretString::from).map_err(|error| unreadable(&error))
}

/// The password on standard input. A password is never an argument: every process of the machine can read those.
fn read_password() -> Result<SecretString, Failure> {
    Ok(read_stdin()?.lines().next().unwrap_or_default().into())
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    Ok(text)
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read the password: {error}"))
}
