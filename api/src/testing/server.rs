//! The router over a real store, real workspaces and a container engine that never finishes making a container.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use mgx_apps::{AppIdentity, Archive, Idempotency, IntentStore, Sessions};
use mgx_oauth2::{
    Argon2Cost, GrantType, NewClient, NewUser, Provider, RandomSource, Settings, SigningKeys, User,
};
use mgx_policies::{Admission, FakeRelativeClock, Policies, Rate, SessionBudget, TimeLimits};
use mgx_protocol::{Invocation, SlotId};
use mgx_runtimes::{
    ContainerSpec, EngineInfo, Limits, Listed, Placement, Run, Runtime, RuntimeError, RuntimeErrorKind,
};
use mgx_scheduler::{Blueprint, Clock, Config, HistoryLimit, Job, Plan, Scheduler, Uptime};
use mgx_scheduler::{Caps, Fairness};
use mgx_store::Embedded;
use mgx_testkit::FixedBlueprint;
use mgx_workspaces::Workspaces;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    AdminToken, App, EngineProbe, Gate, Imports, JobRules, Pools, Scheduling, StoreProbe, StreamBounds,
    Streams, router,
};

const TOKEN: &str = "the-token";

/// The password of every user of these tests.
pub(crate) const PASSWORD: &str = "seven grey herons wade";

/// An engine that is unreachable, or one that never finishes making a container.
#[derive(Debug)]
struct Engine {
    unreachable: bool,
}

impl Engine {
    fn error() -> RuntimeError {
        RuntimeError::new(RuntimeErrorKind::Unavailable, "cannot reach /run/secret.sock")
    }
}

#[async_trait]
impl Runtime for Engine {
    async fn create(&self, _: &ContainerSpec, _: &Placement) -> Result<(), RuntimeError> {
        std::future::pending().await
    }
    async fn invoke(&self, _: &SlotId, _: Invocation) -> Result<Run, RuntimeError> {
        Err(Self::error())
    }
    async fn reattach(&self, _: &SlotId) -> Result<Run, RuntimeError> {
        Err(Self::error())
    }
    async fn remove(&self, _: &SlotId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        Ok(Vec::new())
    }
    async fn info(&self) -> Result<EngineInfo, RuntimeError> {
        if self.unreachable {
            return Err(Self::error());
        }
        Ok(EngineInfo { name: "fake".into(), version: "1".into() })
    }
}

#[async_trait]
impl Blueprint for Engine {
    async fn plan(&self, job: &Job) -> Result<Plan, String> {
        if job.spec.prompt == "fail" {
            return Err("cannot run this".into());
        }
        FixedBlueprint.plan(job).await
    }
}

/// The router and the parts of the platform behind it.
pub(crate) struct TestServer {
    router: Router,
    pub(crate) scheduler: Scheduler,
    pub(crate) sessions: Sessions,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) provider: Arc<Provider>,
    /// The clock of the rate limit.
    pub(crate) clock: FakeRelativeClock,
    pub(crate) closing: CancellationToken,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) async fn test_server() -> TestServer {
    test_server_with(false, 8).await
}

pub(crate) async fn test_server_with(unreachable: bool, streams: usize) -> TestServer {
    test_server_over(unreachable, streams, |store| store).await
}

/// A server that keeps idempotency keys in the store that `intents` makes of its own.
pub(crate) async fn test_server_over(
    unreachable: bool,
    streams: usize,
    intents: impl FnOnce(Arc<dyn IntentStore>) -> Arc<dyn IntentStore>,
) -> TestServer {
    open(unreachable, streams, intents, policies()).await
}

/// A server with policies of its own.
pub(crate) async fn test_server_with_policies(policies: Policies) -> TestServer {
    open(false, 8, |store| store, policies).await
}

/// Policies that refuse nothing but what would run longer than a minute.
pub(crate) fn policies() -> Policies {
    Policies {
        times: TimeLimits { run_s: 60, max_run_s: 60, wait_s: None, max_wait_s: 30 * 86_400 },
        caps: Caps::of(1),
        allowance: SessionBudget::default(),
        rate: Rate { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX },
    }
}

async fn open(
    unreachable: bool,
    streams: usize,
    intents: impl FnOnce(Arc<dyn IntentStore>) -> Arc<dyn IntentStore>,
    policies: Policies,
) -> TestServer {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(&dir.path().join("store.db"), Timestamp::UNIX_EPOCH).unwrap());
    let workspaces = Workspaces::open(dir.path().join("workspaces"), None).unwrap();
    let config = Config {
        caps: policies.caps.clone(),
        fairness: Fairness::default(),
        max_queued: 3,
        max_queued_per_user: 3,
        history: HistoryLimit { events: 1000, bytes: 1 << 20 },
        history_per_job: HistoryLimit { events: 1000, bytes: 1 << 20 },
        grace: Duration::from_secs(1),
        in_memory: 1_000,
        start_tries: 1,
        runtime: "fake".to_owned(),
        gives_up_jobs_of_other_runtimes: false,
        redactor: mgx_scheduler::Redactor::default(),
        max_provider_outage: Duration::from_hours(1),
        reap_every: Duration::from_mins(10),
    };
    let engine = Arc::new(Engine { unreachable });
    let clock = Clock::starting_at(Timestamp::from_second(1_700_000_000).unwrap(), Uptime::default());
    let scheduler =
        Scheduler::start(config, clock, store.clone(), engine.clone(), engine.clone()).await.unwrap();
    let limits = Limits { memory_bytes: 2 << 30, cpu_quota: 100_000, pids: 256 };
    let closing = CancellationToken::new();
    let (clock, sessions) = (FakeRelativeClock::default(), Sessions::new(store.clone(), workspaces));
    let (times, archive) = (policies.times, store.clone());
    let provider = provider(store.clone(), dir.path()).await;
    let app = App {
        jobs: scheduler.reader().clone(),
        store: StoreProbe::of(|| async { Ok(()) }),
        scheduling: Some(Scheduling {
            admission: Admission::new(policies, scheduler.clone(), clock.clone()),
            scheduler: scheduler.clone(),
            engine: EngineProbe::new(engine),
            pools: Pools::none(),
        }),
        imports: Imports::new(archive.clone()),
        idempotency: Idempotency::new(intents(store)),
        sessions: sessions.clone(),
        identities: identities(),
        gate: Gate::new(AdminToken::new(&SecretString::from(TOKEN)), provider.clone()),
        is_provider: true,
        rules: JobRules { default_limits: limits, max_limits: limits, times },
        streams: Streams::new(StreamBounds { per_session: streams, per_user: 64, in_all: 64 }),
        closing: closing.clone(),
    };
    TestServer { router: router(app), archive, scheduler, sessions, provider, clock, closing, dir }
}

/// The identities of the apps in these tests.
pub(crate) fn identities() -> AppIdentity {
    AppIdentity::with_key(&[7; 32], "http://127.0.0.1:8765")
}

/// A provider that hashes passwords at the lowest cost.
async fn provider(store: Arc<Embedded>, dir: &Path) -> Arc<Provider> {
    let mut settings = Settings::new("http://127.0.0.1:8765/oauth2".parse().unwrap());
    settings.legacy_client = Some("mgx-password".parse().unwrap());
    settings.password_cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };
    let clock = mgx_oauth2::Clock::new(Timestamp::now);
    let keys = SigningKeys::for_tests(&dir.join("oauth2.key"), clock.now()).unwrap();
    let provider = Provider::for_tests(settings, store, keys, clock, RandomSource::system()).await.unwrap();
    let of_passwords = NewClient {
        id: Some("mgx-password".parse().unwrap()),
        name: "Programs with a password".to_owned(),
        confidential: false,
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: [GrantType::Password].into(),
        scope: "openid profile read write admin".parse().unwrap(),
        audience: Some(crate::AUDIENCE.to_owned()),
        first_party: true,
        id_token_alg: mgx_oauth2::SigningAlgorithm::default(),
    };
    provider.administration(None).ensure_client(of_passwords, None).await.unwrap();
    Arc::new(provider)
}

/// A request with the token.
pub(crate) fn ask(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {TOKEN}"))
}

/// A request with another token.
pub(crate) fn ask_as(token: &str, method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"))
}

impl TestServer {
    /// A user, of these groups, whose password is [`PASSWORD`].
    pub(crate) async fn user(&self, name: &str, groups: &[&str]) -> User {
        let new = NewUser {
            name: name.parse().unwrap(),
            display_name: name.to_owned(),
            email: None,
            email_verified: false,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            password: Some(PASSWORD.into()),
        };
        self.provider.administration(None).add_user(new).await.unwrap().0
    }

    /// An API token of `user`, good for `scope`.
    pub(crate) async fn api_token(&self, user: &User, scope: &str) -> String {
        let scope = scope.parse().unwrap();
        let (_, token) =
            self.provider.administration(None).add_api_token(user.id, "test", scope, None).await.unwrap();
        token.expose_secret().to_owned()
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Body>,
    ) -> Response<Body> {
        let mut request = request.body(body.into()).unwrap();
        request.headers_mut().entry("host").or_insert(HeaderValue::from_static("127.0.0.1:8765"));
        self.router().oneshot(request).await.unwrap()
    }

    /// Status, code of the problem (or nothing), and the JSON of the body (or null).
    pub(crate) async fn code(
        &self,
        request: http::request::Builder,
        body: impl Into<Body>,
    ) -> (u16, String, Value) {
        let response = self.send(request, body).await;
        let status = response.status();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let json: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.as_u16() >= 400 {
            assert_eq!(kind.as_deref(), Some("application/problem+json"), "{json}");
            assert_eq!(json["status"], status.as_u16());
        }
        (status.as_u16(), json["code"].as_str().unwrap_or("").to_owned(), json)
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, String, Value) {
        self.code(ask("POST", path).header("content-type", "application/json"), body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String, Value) {
        self.code(ask("GET", path), Body::empty()).await
    }

    /// A job once it is in the queue, which is a moment after it was accepted.
    pub(crate) async fn queued_job(&self, path: &str) -> Value {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let job = self.get(path).await.2;
            if job["position"].is_number() {
                return job;
            }
            assert!(std::time::Instant::now() < end, "the job joins the queue: {job}");
            tokio::task::yield_now().await;
        }
    }

    /// The session `demo`, whose one job has failed; the number of its last event.
    pub(crate) async fn finished_session(&self) -> u64 {
        let (status, _, session) =
            self.post("/api/sessions", json!({ "session_id": "demo", "prompt": "fail" })).await;
        assert_eq!(status, 201, "{session}");
        let mut changes = self.scheduler.log().subscribe(&"demo".parse().unwrap());
        loop {
            let head = self.scheduler.log().head(&"demo".parse().unwrap()).await.unwrap();
            if head.has_finished() {
                return head.seq;
            }
            changes.changed().await.unwrap();
        }
    }
}
