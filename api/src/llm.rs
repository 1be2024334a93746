//! The LLM proxy: the one thing that an agent in a container without a network can talk to.
//!
//! ```text
//! agent ─▶ runner link ─▶ tunnel ─▶ caller ─▶ budget ─▶ request ─▶ provider | demo ─▶ meter ─▶ agent
//! ```
//!
//! The agent knows a token that dies with its attempt; the provider's key never leaves this process. Answers in
//! `OpenAI`'s shapes, errors included, so that any client of theirs works.

mod attempts;
mod budget;
mod caller;
mod config;
mod demo;
mod error;
mod meter;
mod price;
mod provider;
mod request;
#[cfg(test)]
mod tests;
mod tunnel;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mgx_apps::SessionStore;
use serde_json::json;

pub use attempts::{Attempts, PlatformAttempts};
pub use config::{LlmConfig, LlmConfigError, LlmLimits, ProviderConfig, RetryConfig};
pub use error::LlmError;
pub use price::Price;
pub use tunnel::{TunnelLimits, serve_tunnels};

use budget::Budget;
use caller::Caller;
use meter::{Bill, Ledger};
use provider::Provider;
use request::ChatRequest;

/// The name of the built-in scripted model.
pub const DEMO_MODEL: &str = "mgx-demo";

/// The name by which a role asks for whatever model the operator has configured.
pub const DEFAULT_MODEL: &str = "default";

/// Answers chat completions on behalf of live attempts. Cheap to clone.
#[derive(Clone)]
pub struct LlmProxy(Arc<Inner>);

struct Inner {
    config: LlmConfig,
    provider: Option<Provider>,
    attempts: Arc<dyn Attempts>,
    budget: Budget,
    ledger: Arc<Ledger>,
}

impl LlmProxy {
    /// A proxy that believes `attempts` and books what is used in `sessions`.
    ///
    /// # Errors
    /// [`LlmConfigError`]: the operator must change the configuration.
    pub fn new(
        config: LlmConfig,
        attempts: Arc<dyn Attempts>,
        sessions: Arc<dyn SessionStore>,
    ) -> Result<Self, LlmConfigError> {
        config.check()?;
        let provider = config.provider.as_ref().map(|it| Provider::new(it, config.retry)).transpose()?;
        let budget = Budget::new(config.limits, sessions.clone());
        let ledger = Arc::new(Ledger::new(attempts.clone(), sessions, config.prices.clone()));
        Ok(Self(Arc::new(Inner { config, provider, attempts, budget, ledger })))
    }

    /// `POST /v1/chat/completions` and `GET /v1/models`; everything else is 404, in `OpenAI`'s shape.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
            .method_not_allowed_fallback(unknown)
            .fallback(unknown)
            .with_state(self.clone())
    }

    /// Whether answers come from the built-in demo model, because no provider is configured.
    pub fn is_demo(&self) -> bool {
        self.0.provider.is_none()
    }

    /// The model that a role's `default` stands for.
    pub fn default_model(&self) -> &str {
        if self.is_demo() { DEMO_MODEL } else { &self.0.config.default_model }
    }

    /// The models that may be asked for by name, the default first. Others may be allowed too if the operator
    /// has listed none.
    pub fn models(&self) -> Vec<&str> {
        let mut models = vec![self.default_model()];
        for name in self.0.config.models.iter().map(String::as_str).chain([DEMO_MODEL]) {
            if !models.contains(&name) {
                models.push(name);
            }
        }
        models
    }

    /// The model that will answer for `asked`.
    fn resolve(&self, asked: &str) -> Result<String, LlmError> {
        let config = &self.0.config;
        if self.is_demo() || asked == DEMO_MODEL {
            return Ok(DEMO_MODEL.to_owned());
        }
        let is_default = asked.is_empty() || asked == DEFAULT_MODEL || asked == config.default_model;
        let model = if is_default { &config.default_model } else { asked };
        if !is_default && !config.models.is_empty() && !config.models.iter().any(|known| known == asked) {
            return Err(LlmError::model_not_found(asked));
        }
        if config.limits.max_cost_micros > 0 && !config.prices.contains_key(model) {
            return Err(LlmError::model_without_price(model));
        }
        Ok(model.to_owned())
    }
}

impl fmt::Debug for LlmProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmProxy").field("config", &self.0.config).finish_non_exhaustive()
    }
}

async fn chat(State(proxy): State<LlmProxy>, request: Request) -> Result<Response, LlmError> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&parts.headers, &*proxy.0.attempts).await?;
    let mut request = ChatRequest::read(body).await?;
    let model = proxy.resolve(request.model())?;
    let permit = proxy.0.budget.admit(&caller).await?;
    let bill = |content_type: &HeaderValue, request: &ChatRequest| {
        Bill::open(proxy.0.ledger.clone(), caller.clone(), model.clone(), permit, request, content_type)
    };

    let (content_type, bytes, bill) = match &proxy.0.provider {
        Some(provider) if model != DEMO_MODEL => {
            request.prepare(&model);
            let reply = provider.send(&request).await?;
            let bill = bill(&reply.content_type, &request);
            (reply.content_type, reply.bytes, bill)
        }
        Some(_) | None => {
            let reply = demo::answer(&request, &caller, proxy.0.config.demo_pace)?;
            let bill = bill(&reply.content_type, &request);
            (reply.content_type, reply.bytes, bill)
        }
    };
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]);
    let body = Body::from_stream(bill.metered(bytes, proxy.0.config.retry.whole));
    Ok((StatusCode::OK, headers, body).into_response())
}

async fn models(State(proxy): State<LlmProxy>, headers: HeaderMap) -> Result<Response, LlmError> {
    Caller::of(&headers, &*proxy.0.attempts).await?;
    let data: Vec<_> = proxy
        .models()
        .into_iter()
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "mgx"}))
        .collect();
    Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
}

async fn unknown(request: Request) -> LlmError {
    LlmError::unknown_url(request.method(), request.uri().path())
}

/// How long a request's body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
