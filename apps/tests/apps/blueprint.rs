//! What a container is given, and what it never gets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::store::MemoryStore;
use jiff::Timestamp;
use mgx_apps::{
    AppIdentity, AttemptTokens, Framework, Isolation, JobBlueprint, Language, NewSession, Sessions,
    TeamConfig,
};
use mgx_protocol::{Attempt, JobId};
use mgx_runtimes::{Limits, OciRuntime};
use mgx_scheduler::Blueprint;
use mgx_scheduler::SchedulingOptions;
use mgx_scheduler::{Job, JobSpec, Kind, State};
use mgx_workspaces::Workspaces;
use secrecy::ExposeSecret;
use tempfile::TempDir;

async fn blueprint() -> (TempDir, JobBlueprint) {
    let dir = tempfile::tempdir().unwrap();
    let workspaces = Workspaces::open(dir.path().join("w"), Some("/srv/mgx/workspaces".into())).unwrap();
    let sessions = Sessions::new(Arc::new(MemoryStore::default()), workspaces);
    let new = NewSession {
        id: Some("s1".parse().unwrap()),
        name: "A shop".to_owned(),
        framework: Framework::FastapiVite,
        user: "ann".to_owned(),
        workspace: Some("shop".parse().unwrap()),
    };
    sessions.create(new).await.unwrap();
    let blueprint = JobBlueprint {
        isolation: Isolation { build: OciRuntime::Runsc, ..Isolation::default() },
        sessions,
        tokens: AttemptTokens::with_key(&[7; 32]),
        identities: AppIdentity::with_key(&[9; 32], "https://mgx.example"),
        image: "mgx-agent:test".to_owned(),
        teams: [Language::En, Language::Zh].map(|language| TeamConfig::default().team(language).unwrap()),
    };
    (dir, blueprint)
}

fn job(kind: Kind, env: &[(&str, &str)]) -> Job {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Job {
        id: JobId("01890000-0000-7000-8000-000000000001".parse::<JobId>().unwrap().0),
        session: "s1".parse().unwrap(),
        user: "ann".to_owned(),
        spec: JobSpec {
            kind,
            prompt: "A shop for teapots".to_owned(),
            command: Vec::new(),
            env,
            workdir: "/workspace".to_owned(),
            limits: Limits { memory_bytes: 2 << 30, cpu_quota: 100_000, pids: 512 },
            timeout_s: 1800,
            options: SchedulingOptions::default(),
            continues: Vec::new(),
        },
        state: State::Admitted,
        attempt: Attempt(2),
        runs: 1,
        queued_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        started_up: None,
        deadline_at: None,
        ended_at: None,
        exit: None,
        error: None,
        provider_wait: None,
        ran_ms: 0,
        runtime: None,
    }
}

#[tokio::test]
async fn the_plan_of_an_agent_job() {
    let (_dir, blueprint) = blueprint().await;
    let job = job(
        Kind::Agent,
        &[("MY_FLAG", "1"), ("LANG", "de_DE.UTF-8"), ("SESSION_ID", "forged"), ("OPENAI_API_KEY", "sk-mine")],
    );
    let plan = blueprint.plan(&job).await.unwrap();
    let token = plan.env["OPENAI_API_KEY"].clone();
    assert_eq!(blueprint.tokens.verify(&token), Some((job.id, Attempt(2))));
    let mut said =
        format!("{:?}\nmounts {} as {}\n", plan.spec, plan.workspace_dir.display(), plan.workspace);
    for (name, value) in plan.labels.iter().chain(&plan.env) {
        writeln!(said, "{name}={}", if *value == token { "<the attempt's token>" } else { value }).unwrap();
    }
    insta::assert_snapshot!(said);
    assert_eq!(plan.team, blueprint.teams[0]);
    assert!(!format!("{plan:?} {blueprint:?}").contains(&token));
}

/// A command may run code that a model wrote, so it must not reach the model in the session's name: not even in a job of
/// kind agent.
#[tokio::test]
async fn a_command_gets_no_token_and_no_team() {
    let (_dir, blueprint) = blueprint().await;
    for kind in [Kind::Agent, Kind::Dev, Kind::Build] {
        let mut job = job(kind, &[]);
        job.spec.command = vec!["npm".to_owned(), "run".to_owned(), "dev".to_owned()];
        let plan = blueprint.plan(&job).await.unwrap();
        assert!(plan.env.keys().all(|name| !name.starts_with("OPENAI_")), "{kind}");
        assert!(plan.team.roles.is_empty(), "{kind}");
        let token = blueprint.tokens.mint(job.id, job.attempt);
        assert!(plan.env.values().all(|value| !value.contains(token.expose_secret())), "{kind}");
    }
}

#[tokio::test]
async fn a_job_without_session_or_workspace_is_refused_with_the_reason() {
    let (dir, blueprint) = blueprint().await;
    let lost = Job { session: "s2".parse().unwrap(), ..job(Kind::Agent, &[]) };
    assert_eq!(blueprint.plan(&lost).await.unwrap_err(), "no such session");
    let workspace = dir.path().join("w/shop");
    std::fs::remove_dir_all(&workspace).unwrap();
    std::fs::write(&workspace, "").unwrap();
    let orphan = job(Kind::Agent, &[]);
    assert_eq!(blueprint.plan(&orphan).await.unwrap_err(), "the workspace: not a directory");
    assert_eq!(orphan.spec.env, BTreeMap::new());
}

#[tokio::test]
async fn a_workspace_that_was_deleted_is_made_again() {
    let (dir, blueprint) = blueprint().await;
    let workspace = dir.path().join("w/shop");
    let readme = std::fs::read(workspace.join("README.md")).unwrap();
    std::fs::remove_dir_all(&workspace).unwrap();
    blueprint.plan(&job(Kind::Agent, &[])).await.unwrap();
    assert_eq!(std::fs::read(workspace.join("README.md")).unwrap(), readme, "with the starter files");
    // what a user has is never replaced
    std::fs::write(workspace.join("README.md"), "mine").unwrap();
    blueprint.plan(&job(Kind::Agent, &[])).await.unwrap();
    assert_eq!(std::fs::read(workspace.join("README.md")).unwrap(), b"mine");
}

#[tokio::test]
async fn each_kind_of_job_runs_on_the_configured_oci_runtime() {
    let (_dir, blueprint) = blueprint().await;
    for (kind, runtime) in [
        (Kind::Agent, OciRuntime::Engines),
        (Kind::Dev, OciRuntime::Engines),
        (Kind::Build, OciRuntime::Runsc),
    ] {
        assert_eq!(blueprint.plan(&job(kind, &[])).await.unwrap().spec.oci_runtime, runtime, "{kind}");
    }
}

#[tokio::test]
async fn only_the_app_itself_gets_its_client_secret() {
    let (_dir, blueprint) = blueprint().await;
    let session = blueprint.sessions.get(&"s1".parse().unwrap(), None).await.unwrap();
    let app = blueprint.identities.client(&session);
    let secret = app.secret.expose_secret();
    let dev = blueprint.plan(&job(Kind::Dev, &[("OAUTH_CLIENT_ID", "another")])).await.unwrap();
    assert_eq!(dev.env["OAUTH_ISSUER"], "https://mgx.example/oauth2");
    assert_eq!((&dev.env["OAUTH_CLIENT_ID"], &*dev.env["OAUTH_CLIENT_SECRET"]), (&app.id, secret));
    assert_eq!(dev.env["OAUTH_REDIRECT_URI"], app.redirect_uris[0]);
    assert!(
        !format!("{:?} {:?} {dev:?}", dev.spec, dev.labels).contains(secret),
        "the engine does not get it"
    );
    for kind in [Kind::Agent, Kind::Build] {
        let plan = blueprint.plan(&job(kind, &[])).await.unwrap();
        assert!(plan.env.keys().all(|name| !name.starts_with("OAUTH_")), "{kind}");
    }
}
