//! Requests of single-page applications (Fetch Standard, CORS protocol): pages on the origins of public clients may read
//! the answers of the endpoints that such clients need.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::clients::public_origins::PublicOrigins;
use crate::provider::Provider;
use crate::storage::StorageError;

/// How long a browser may use the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_mins(10);

/// The most clients that are read at once.
const CLIENTS_PER_READ: usize = 500;

/// The layer of an endpoint that single-page applications call. No cookie is sent with such requests, nor would it count.
pub(super) fn layer(provider: &Arc<Provider>) -> CorsLayer {
    let provider = Arc::clone(provider);
    let origins = AllowOrigin::async_predicate(move |origin: HeaderValue, _| async move {
        match origin.to_str() {
            Ok(origin) => is_public_clients(&provider, origin).await,
            Err(_) => false,
        }
    });
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, HeaderName::from_static("dpop")])
        .expose_headers([header::WWW_AUTHENTICATE, header::RETRY_AFTER])
        .max_age(MAX_AGE)
}

async fn is_public_clients(provider: &Provider, origin: &str) -> bool {
    let now = provider.clock.now();
    let origins = match provider.origins.get(now) {
        Some(origins) => origins,
        None => match read(provider).await {
            Ok(origins) => {
                provider.origins.keep(origins.clone(), now);
                origins
            }
            // the browser shows the page nothing, and the page tries again
            Err(_) => return false,
        },
    };
    origins.has(origin)
}

async fn read(provider: &Provider) -> Result<PublicOrigins, StorageError> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|client: &crate::Client| client.id.clone());
        let page = provider.storage.clients(after.as_ref(), CLIENTS_PER_READ).await?;
        let is_last = page.len() < CLIENTS_PER_READ;
        all.extend(page);
        if is_last {
            return Ok(PublicOrigins::of(all.into_iter()));
        }
    }
}
