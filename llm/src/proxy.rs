//! The proxy: answers chat completions for running attempts, with the provider or the demo model.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::caller::Caller;
use crate::config::{DEFAULT_MODEL, DEMO_MODEL};
use crate::model::demo;
use crate::model::request::ChatRequest;
use crate::usage::budget::Budget;
use crate::usage::metering::{PendingUsage, UsageRecorder};
use crate::usage::sums::UsageSums;
use crate::{Attempts, LlmConfig, LlmConfigError, LlmError, Providers, UsageStore};

/// Answers chat completions for running attempts. Cheap to clone.
#[derive(Clone)]
pub struct LlmProxy(Arc<Inner>);

struct Inner {
    config: LlmConfig,
    providers: Providers,
    attempts: Arc<dyn Attempts>,
    budget: Budget,
    usage: Arc<UsageRecorder>,
}

impl LlmProxy {
    /// A proxy that authenticates callers by `attempts`, and keeps the sessions' usage in `usage`.
    ///
    /// # Errors
    /// [`LlmConfigError`]: the operator must change the configuration.
    pub fn new(
        config: LlmConfig,
        attempts: Arc<dyn Attempts>,
        usage: Arc<dyn UsageStore>,
    ) -> Result<Self, LlmConfigError> {
        let providers = Providers::new(&config)?;
        let sums = Arc::<UsageSums>::default();
        let budget = Budget::new(config.limits, usage.clone(), sums.clone());
        let recorder =
            UsageRecorder::new(attempts.clone(), usage, sums, config.limits, config.prices.clone());
        let usage = Arc::new(recorder);
        Ok(Self(Arc::new(Inner { config, providers, attempts, budget, usage })))
    }

    /// `POST /v1/chat/completions` and `GET /v1/models`; everything else is 404, in `OpenAI`'s shape.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/models", get(models))
            .method_not_allowed_fallback(unknown_url)
            .fallback(unknown_url)
            .with_state(self.clone())
    }

    /// Whether the built-in demo model answers, because no provider is configured.
    pub fn is_demo(&self) -> bool {
        self.0.providers.is_empty()
    }

    /// The model that [`DEFAULT_MODEL`] stands for.
    pub fn default_model(&self) -> &str {
        if self.is_demo() { DEMO_MODEL } else { &self.0.config.default_model }
    }

    /// The models that agents may ask for by name, the default first. If the operator has listed none, others are
    /// allowed too.
    pub fn models(&self) -> Vec<&str> {
        let mut models = vec![self.default_model()];
        for name in self.0.config.models.iter().map(String::as_str).chain([DEMO_MODEL]) {
            if !models.contains(&name) {
                models.push(name);
            }
        }
        models
    }

    /// The model that answers a request for `requested`.
    fn resolve(&self, requested: &str) -> Result<String, LlmError> {
        let config = &self.0.config;
        if self.is_demo() || requested == DEMO_MODEL {
            return Ok(DEMO_MODEL.to_owned());
        }
        let is_default =
            requested.is_empty() || requested == DEFAULT_MODEL || requested == config.default_model;
        let model = if is_default { &config.default_model } else { requested };
        if !is_default && !config.models.is_empty() && !config.models.iter().any(|name| name == requested) {
            return Err(LlmError::model_not_found(requested));
        }
        if config.limits.has_cost() && !config.prices.contains_key(model) {
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
    let Inner { config, attempts, budget, usage, .. } = &*proxy.0;
    let (parts, body) = request.into_parts();
    let caller = Caller::authenticate(&parts.headers, &**attempts).await?;
    let mut request = ChatRequest::read(body).await?;
    let model = proxy.resolve(request.model())?;
    let permit = budget.admit(&caller).await?;
    let provider =
        Some(&model).filter(|model| **model != DEMO_MODEL).and_then(|model| proxy.0.providers.of(model));
    let estimated_tokens = request.estimated_tokens();
    let answer = match provider {
        Some((provider, name)) => {
            request.prepare(name);
            provider.send(request).await?
        }
        None => demo::answer(&request, &caller, config.demo_pace)?,
    };
    let usage =
        PendingUsage::new(usage.clone(), caller, model, permit, estimated_tokens, &answer.content_type);
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, answer.content_type),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]);
    let body = Body::from_stream(usage.meter(answer.bytes, config.timeouts.answer));
    Ok((StatusCode::OK, headers, body).into_response())
}

async fn models(State(proxy): State<LlmProxy>, headers: HeaderMap) -> Result<Response, LlmError> {
    Caller::authenticate(&headers, &*proxy.0.attempts).await?;
    let data: Vec<_> = proxy
        .models()
        .into_iter()
        .map(|id| json!({"id": id, "object": "model", "created": 0, "owned_by": "mgx"}))
        .collect();
    Ok(axum::Json(json!({"object": "list", "data": data})).into_response())
}

async fn unknown_url(request: Request) -> LlmError {
    LlmError::unknown_url(request.method(), request.uri().path())
}
