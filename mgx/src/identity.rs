//! Who may come in: the OAuth 2 provider, as this platform is configured, with the clients that are its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use mgx_api::{AUDIENCE, CALLBACK, PAGES};
use mgx_oauth2::{
    ClientId, Clock, GrantType, NewClient, Provider, RandomSource, Settings, SigningKeys, Storage,
};
use secrecy::SecretString;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::Config;

/// The file of the key that tokens are signed with, in the data directory.
const KEY: &str = "oauth2.key";

/// The client that `mgx login` is.
pub(crate) const CLI: &str = "mgx-cli";

/// The client that a sign-in request without a client is taken for, if there is to be one.
const LEGACY: &str = "mgx-legacy";

/// How often what has ended is forgotten.
const TEND_EVERY: Duration = Duration::from_mins(1);

/// How long another process may go on taking a token that was taken back.
const LEARN_EVERY: Duration = Duration::from_secs(1);

/// The provider, and what only its first start knows.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) provider: Arc<Provider>,
    /// The random password of the first administrator, if this is the first start: to be shown, and stored nowhere.
    pub(crate) first_password: Option<SecretString>,
}

impl Identity {
    /// Opens the provider over `storage`, with its own clients as the configuration wants them.
    ///
    /// # Errors
    /// What the operator has to change.
    pub(crate) async fn open(config: &Config, storage: Arc<dyn Storage>) -> anyhow::Result<Self> {
        let issuer = format!("{}/oauth2", config.public_url());
        let issuer = issuer.parse().with_context(|| format!("oauth2.public_url: {issuer} is no issuer"))?;
        if config.is_shared() && config.oauth2.public_url.is_empty() {
            warn!(
                %issuer,
                "oauth2.public_url is empty: a second process of this platform would have another issuer, and take no token of this one's"
            );
        }
        let legacy = config.oauth2.password_login.then(|| id(LEGACY));
        let clock = Clock::new(Timestamp::now);
        let keys = SigningKeys::load_or_create(&config.server.data_dir.join(KEY), clock.now())?;
        let settings = Settings { legacy_client: legacy, ..Settings::new(issuer) };
        let provider = Provider::new(settings, storage, keys, clock, RandomSource::system()).await?;
        let ours = provider.administration(None);
        ours.ensure_client(cli(), None).await?;
        ours.ensure_client(pages(config), None).await?;
        if config.oauth2.password_login {
            warn!(
                "oauth2.password_login: clients may ask for tokens with a user's password; RFC 9700 advises against it"
            );
            ours.ensure_client(legacy_client(), None).await?;
        } else {
            ours.remove_client(&id(LEGACY)).await.ok();
        }
        let chosen = config.oauth2.admin_password.get().cloned();
        let first_password = ours.add_first_admin(chosen).await.context("oauth2.admin_password")?;
        Ok(Self { provider: Arc::new(provider), first_password })
    }
}

/// Forgets what has ended, from time to time; and if other processes share the store, learns what they have taken back.
/// Until `closing`.
pub(crate) async fn tend(provider: Arc<Provider>, is_shared: bool, closing: CancellationToken) {
    let (mut tending, mut learning) = (interval(TEND_EVERY), interval(LEARN_EVERY));
    let mut fails = false;
    loop {
        let done = tokio::select! {
            _ = tending.tick() => provider.maintain().await,
            _ = learning.tick(), if is_shared => provider.catch_up().await,
            () = closing.cancelled() => return,
        };
        match done {
            Ok(()) => fails = false,
            // once, and not every second while the store is away
            Err(error) if !std::mem::replace(&mut fails, true) => {
                warn!(%error, "cannot keep up with tokens that have ended; the next time will do");
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

fn cli() -> NewClient {
    NewClient { name: "MGX command line".to_owned(), ..own(CLI, [GrantType::DeviceCode]) }
}

fn pages(config: &Config) -> NewClient {
    NewClient {
        name: "MGX".to_owned(),
        redirect_uris: vec![format!("{}{CALLBACK}", config.public_url())],
        ..own(PAGES, [GrantType::AuthorizationCode])
    }
}

fn legacy_client() -> NewClient {
    NewClient { name: "Programs with a password".to_owned(), ..own(LEGACY, [GrantType::Password]) }
}

/// A client of the platform's own: its tokens are for the API.
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
        first_party: true,
    }
}

fn id(name: &str) -> ClientId {
    name.parse().expect("our own names are client ids")
}
