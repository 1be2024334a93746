//! `mgx client`: the programs that people may sign in to, or that speak for themselves.

use std::process::ExitCode;

use mgx_client::{Client, Listed};
use mgx_oauth2::ClientId;
use serde_json::{Value, json};

use super::show;
use crate::cli::out::{self, Failure, Outcome, harmless};

/// What to do about clients.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Register a client. Its secret, if it has one, is shown once.
    Add(Add),
    /// List clients.
    List {
        /// One JSON object on each line.
        #[arg(long)]
        json: bool,
    },
    /// Give a client a new secret; the one before goes on counting until the next time.
    Secret {
        /// The client.
        id: ClientId,
    },
    /// Remove a client, with everything that it was allowed.
    Remove {
        /// The client.
        id: ClientId,
    },
}

/// A client to register.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// What people are shown.
    name: String,
    /// Its id; a random one if absent.
    #[arg(long, value_name = "ID")]
    id: Option<ClientId>,
    /// Give it a secret: a program on a server can keep one.
    #[arg(long)]
    confidential: bool,
    /// Where browsers may be sent with a code; may be given again.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// How it may ask for tokens, such as `client_credentials`; may be given again.
    #[arg(long = "grant", value_name = "NAME")]
    grants: Vec<String>,
    /// What it may ask for, such as "openid profile read".
    #[arg(long, value_name = "WORDS")]
    scope: Option<String>,
    /// Who is to accept its access tokens: `mgx` is this platform's API; itself if absent.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
}

/// Does it.
pub(crate) async fn run(client: &Client, command: &Command) -> Outcome {
    match command {
        Command::Add(add) => {
            let made = client.add(Listed::Clients, &add.request()).await?;
            let id = harmless(made["client_id"].as_str().unwrap_or_default());
            out::line(format_args!("client {id} is registered{}", shown(&made)));
        }
        Command::List { json } => {
            let columns = [
                ("CLIENT", "client_id"),
                ("NAME", "name"),
                ("SECRET", "confidential"),
                ("SCOPE", "scope"),
                ("AUDIENCE", "audience"),
                ("OURS", "first_party"),
            ];
            show(&client.all(Listed::Clients).await?, *json, &columns);
        }
        Command::Secret { id } => {
            let renewed = client.renew_secret(id.as_str()).await?.ok_or_else(|| unknown(id))?;
            out::line(format_args!("client {id} has a new secret{}", shown(&renewed)));
        }
        Command::Remove { id } => {
            if !client.remove_client(id.as_str()).await? {
                return Err(unknown(id));
            }
            out::line(format_args!("client {id} is gone"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Add {
    fn request(&self) -> Value {
        let mut new = json!({
            "name": self.name, "confidential": self.confidential, "redirect_uris": self.redirect_uris,
            "client_id": self.id, "scope": self.scope, "audience": self.audience,
        });
        if !self.grants.is_empty() {
            new["grant_types"] = json!(self.grants);
        }
        new
    }
}

fn unknown(id: &ClientId) -> Failure {
    Failure::new(format!("there is no client {id}; `mgx client list` lists them"))
}

/// The secret, this once.
fn shown(client: &Value) -> String {
    let secret = client["client_secret"].as_str();
    secret.map(|text| format!("; the secret is {}", harmless(text))).unwrap_or_default()
}
