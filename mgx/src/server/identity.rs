//! The OAuth 2 provider as the configuration wants it, with the platform's own clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use mgx_api::{AUDIENCE, CALLBACK, PAGES};
use mgx_oauth2::{
    ClientId, Clock, GrantType, NewClient, Provider, RandomSource, Settings, SigningAlgorithm, SigningKeys,
    Storage,
};
use secrecy::SecretString;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Config;
use crate::data_dir::OAUTH2_KEY;

/// The client id of `mgx login`.
pub(crate) const CLI_CLIENT: &str = "mgx-cli";

/// The client id that a password sign-in without a client id gets (`oauth2.password_login`).
const PASSWORD_CLIENT: &str = "mgx-legacy";

/// How often expired tokens and sign-ins are removed.
const CLEAN_UP_EVERY: Duration = Duration::from_mins(1);

/// How often this process reads which tokens others have revoked: for so long it may still accept one of them.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The provider, and the administrator's password, on the first start only.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) provider: Arc<Provider>,
    /// The random password of the first administrator, if this is the first start. It is shown once and stored nowhere.
    pub(crate) first_password: Option<SecretString>,
}

impl Identity {
    /// Opens the provider over `storage`, and registers the platform's own clients.
    ///
    /// # Errors
    /// The error says what the operator has to change.
    pub(crate) async fn open(config: &Config, storage: Arc<dyn Storage>) -> anyhow::Result<Self> {
        let issuer = format!("{}/oauth2", config.public_url());
        let issuer = issuer.parse().with_context(|| format!("oauth2.public_url: {issuer} is no issuer"))?;
        if config.is_shared() && config.oauth2.public_url.is_empty() {
            warn!(
                %issuer,
                "oauth2.public_url is empty: a second process of this platform would have another issuer, and refuse the tokens of this one"
            );
        }
        let legacy_client = config.oauth2.password_login.then(|| id(PASSWORD_CLIENT));
        let clock = Clock::new(Timestamp::now);
        let keys = SigningKeys::load_or_create(&config.server.data_dir.join(OAUTH2_KEY), clock.now())?;
        let refresh_grace = SignedDuration::try_from(config.oauth2.refresh_grace.duration())?;
        let settings = Settings { legacy_client, refresh_grace, ..Settings::new(issuer) };
        let provider = Provider::new(settings, storage, keys, clock, RandomSource::system()).await?;
        let platform = provider.administration(None);
        platform.ensure_client(command_line(), None).await?;
        platform.ensure_client(pages(config), None).await?;
        if config.oauth2.password_login {
            warn!(
                "oauth2.password_login = true: clients may ask for tokens with a user's password; RFC 9700 advises against it"
            );
            platform.ensure_client(password_client(), None).await?;
        } else {
            platform.remove_client(&id(PASSWORD_CLIENT)).await.ok();
        }
        let chosen = config.oauth2.admin_password.get().cloned();
        let first_password = platform.add_first_admin(chosen).await.context("oauth2.admin_password")?;
        Ok(Self { provider: Arc::new(provider), first_password })
    }
}

/// Removes expired tokens, and if other processes share the store, reads which tokens they have revoked. Ends with
/// `closing`.
pub(crate) async fn keep_tokens(provider: Arc<Provider>, is_shared: bool, closing: CancellationToken) {
    let (mut clean_up, mut sync) = (interval(CLEAN_UP_EVERY), interval(SYNC_EVERY));
    let mut is_failing = false;
    loop {
        let done = tokio::select! {
            _ = clean_up.tick() => provider.maintain().await,
            _ = sync.tick(), if is_shared => provider.catch_up().await,
            () = closing.cancelled() => return,
        };
        match done {
            Ok(()) => is_failing = false,
            // logged once, and not every second while the store is away
            Err(error) if !std::mem::replace(&mut is_failing, true) => {
                warn!(%error, "cannot update the list of tokens that have ended; trying again");
            }
            Err(_) => {}
        }
    }
}

fn interval(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn command_line() -> NewClient {
    NewClient { name: "MGX command line".to_owned(), ..own(CLI_CLIENT, [GrantType::DeviceCode]) }
}

fn pages(config: &Config) -> NewClient {
    NewClient {
        name: "MGX".to_owned(),
        redirect_uris: vec![format!("{}{CALLBACK}", config.public_url())],
        ..own(PAGES, [GrantType::AuthorizationCode])
    }
}

fn password_client() -> NewClient {
    NewClient { name: "Programs with a password".to_owned(), ..own(PASSWORD_CLIENT, [GrantType::Password]) }
}

/// A client of the platform itself, whose tokens are for the API.
fn own<const N: usize>(name: &str, grants: [GrantType; N]) -> NewClient {
    NewClient {
        id: Some(id(name)),
        name: name.to_owned(),
        confidential: false,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: BTreeSet::from(grants),
        scope: "openid profile read write admin".parse().expect("plain words are a scope"),
        audience: Some(AUDIENCE.to_owned()),
        id_token_alg: SigningAlgorithm::default(),
        first_party: true,
    }
}

fn id(name: &str) -> ClientId {
    name.parse().expect("the names in this file are client ids")
}
