//! `mgx client`: the programs that users sign in to, or that have tokens of their own.

use std::process::ExitCode;

use mgx_apps::APP_CLIENT_PREFIX;
use mgx_client::Client;
use mgx_client::accounts::oauth_client::{NewOAuthClient, OAuthClient, OAuthClientChange};
use mgx_oauth2::{ClientId, SigningAlgorithm};

use super::{joined, shown_once, yes_or_no};
use crate::cli::out::table::{Column, Form};
use crate::cli::out::{self, Failure, Outcome, harmless};

/// What to do with clients.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Register a client. Its secret, if it has one, is printed once.
    Add(Add),
    /// List clients.
    List {
        /// List the clients that belong to the apps of sessions, too.
        #[arg(long, short)]
        all: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Change a client, which keeps its id, its secret and what it was allowed. What is not given stays as it is.
    Change(Change),
    /// Give a client a new secret. The previous secret stays valid until the next renewal.
    Secret {
        /// The client's id; `mgx client list` lists them.
        id: ClientId,
    },
    /// Remove a client, with every consent and token it was given.
    Remove {
        /// The client's id; `mgx client list` lists them.
        id: ClientId,
    },
}

/// A client to register.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// The name that users see.
    name: String,
    /// The client's id; random if absent.
    #[arg(long, value_name = "ID")]
    id: Option<ClientId>,
    /// Give the client a secret: a program on a server can keep one.
    #[arg(long)]
    confidential: bool,
    /// An address that browsers may be sent to with a code; can be repeated.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// An address that browsers may be sent to after signing out; can be repeated.
    #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// A grant type with which the client may ask for tokens, such as `client_credentials`; can be repeated.
    #[arg(long = "grant", value_name = "NAME")]
    grants: Vec<String>,
    /// The scopes that the client may ask for, such as `openid profile read`; `openid profile email offline_access` if
    /// absent.
    #[arg(long, value_name = "WORDS")]
    scope: Option<String>,
    /// The audience of the client's access tokens: `mgx` is this platform's API; the client itself if absent.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// The algorithm that the client's id tokens are signed with: RS256, which every client knows, or ES256.
    #[arg(long, value_name = "NAME")]
    id_token_alg: Option<SigningAlgorithm>,
}

/// The columns of clients.
const COLUMNS: [Column<OAuthClient>; 9] = [
    Column::new("CLIENT", |client, _| client.client_id.clone()),
    Column::new("NAME", |client, _| out::short(&client.name, 30)),
    Column::new("SECRET", |client, _| yes_or_no(client.confidential)),
    Column::new("SCOPE", |client, _| client.scope.clone()),
    Column::new("AUDIENCE", |client, _| client.audience.clone()),
    Column::new("ADDED", |client, look| look.time(client.created_at)),
    Column::further("OURS", |client, _| yes_or_no(client.first_party)),
    Column::further("GRANTS", |client, _| joined(&client.grant_types)),
    Column::further("REDIRECTS", |client, _| joined(&client.redirect_uris)),
];

/// A change of a client.
#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// The client's id; `mgx client list` lists them.
    id: ClientId,
    /// The name that users see.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// An address that browsers may be sent to with a code; can be repeated. Replaces all that were registered.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// An address that browsers may be sent to after signing out; can be repeated. Replaces all that were registered.
    #[arg(long = "post-logout-redirect-uri", value_name = "URI")]
    post_logout_redirect_uris: Vec<String>,
    /// A grant type with which the client may ask for tokens; can be repeated. Replaces all that it had.
    #[arg(long = "grant", value_name = "NAME")]
    grants: Vec<String>,
    /// The scopes that the client may ask for.
    #[arg(long, value_name = "WORDS")]
    scope: Option<String>,
    /// The audience of the client's access tokens.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// The algorithm that the client's id tokens are signed with: RS256 or ES256.
    #[arg(long, value_name = "NAME")]
    id_token_alg: Option<SigningAlgorithm>,
}

/// Runs the command.
pub(crate) async fn run(client: &Client, command: &Command) -> Outcome {
    match command {
        Command::Add(add) => {
            let made = client.add_oauth_client(&add.request()).await?;
            let secret = shown_once("secret", made.client_secret.as_ref());
            out::line(format_args!("client {} is registered{secret}", harmless(&made.client_id)));
        }
        Command::List { all, form } => {
            let mut clients = client.oauth_clients().await?;
            let count = clients.len();
            clients.retain(|client| *all || !client.client_id.starts_with(APP_CLIENT_PREFIX));
            form.show(&clients, |client| client.client_id.clone(), &COLUMNS);
            let left_out = count - clients.len();
            if left_out > 0 && form.is_table() {
                out::note(format_args!("{left_out} apps of sessions are left out; --all lists them"));
            }
        }
        Command::Change(change) => {
            let Change { id, .. } = change;
            let request = change.request();
            client.change_oauth_client(id.as_str(), &request).await?.ok_or_else(|| unknown(id))?;
            out::line(format_args!("client {id} is changed"));
        }
        Command::Secret { id } => {
            let renewed = client.renew_secret(id.as_str()).await?.ok_or_else(|| unknown(id))?;
            let secret = shown_once("secret", renewed.client_secret.as_ref());
            out::line(format_args!("client {id} has a new secret{secret}"));
        }
        Command::Remove { id } => {
            if !client.remove_oauth_client(id.as_str()).await? {
                return Err(unknown(id));
            }
            out::line(format_args!("client {id} is gone"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Add {
    fn request(&self) -> NewOAuthClient {
        NewOAuthClient {
            client_id: self.id.as_ref().map(ToString::to_string),
            name: self.name.clone(),
            confidential: self.confidential,
            redirect_uris: self.redirect_uris.clone(),
            post_logout_redirect_uris: self.post_logout_redirect_uris.clone(),
            grant_types: (!self.grants.is_empty()).then(|| self.grants.clone()),
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            id_token_signed_response_alg: self.id_token_alg.map(|algorithm| algorithm.to_string()),
        }
    }
}

impl Change {
    fn request(&self) -> OAuthClientChange {
        let given = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        OAuthClientChange {
            name: self.name.clone(),
            redirect_uris: given(&self.redirect_uris),
            post_logout_redirect_uris: given(&self.post_logout_redirect_uris),
            grant_types: given(&self.grants),
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            id_token_signed_response_alg: self.id_token_alg.map(|algorithm| algorithm.to_string()),
        }
    }
}

fn unknown(id: &ClientId) -> Failure {
    Failure::new(format!("there is no client {id}; `mgx client list` lists them"))
}
