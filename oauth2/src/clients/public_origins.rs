//! The origins of the pages that are public clients, cached, because a preflight request names no client.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::clients::client::Client;
use crate::clients::redirect_uri::RedirectUri;

/// How long another process's changes to clients may go unnoticed. Those of this process are noticed at once.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(10);

/// The redirect URIs of all public clients, whose origins may read the answers of the endpoints for clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicOrigins(Arc<[RedirectUri]>);

/// [`PublicOrigins`] as they were read last.
#[derive(Debug, Default)]
pub(crate) struct OriginCache(Mutex<Option<(Timestamp, PublicOrigins)>>);

impl PublicOrigins {
    /// The origins of the public ones of `clients`.
    pub(crate) fn of(clients: impl Iterator<Item = Client>) -> Self {
        Self(clients.filter(Client::is_public).flat_map(|client| client.redirect_uris).collect())
    }

    /// Whether a public client is registered with a redirect URI of this origin.
    pub(crate) fn has(&self, origin: &str) -> bool {
        self.0.iter().any(|uri| uri.is_of_origin(origin))
    }
}

impl OriginCache {
    /// The origins, unless they have to be read again.
    pub(crate) fn get(&self, now: Timestamp) -> Option<PublicOrigins> {
        let cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = cached.as_ref().filter(|(read, _)| now.duration_since(*read) < MAX_AGE);
        fresh.map(|(_, origins)| origins.clone())
    }

    /// Keeps what was read at `now`.
    pub(crate) fn keep(&self, origins: PublicOrigins, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, origins));
    }

    /// A client has changed.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
