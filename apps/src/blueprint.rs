//! What each kind of job runs in: the platform's answer to the scheduler.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mgx_protocol::Team;
use mgx_runtimes::{ContainerSpec, Network, OciRuntime};
use mgx_scheduler::blueprint::{Blueprint, Plan};
use mgx_scheduler::job::{Job, Kind};
use secrecy::ExposeSecret;

use crate::app_identity::AppIdentity;
use crate::attempt_token::AttemptTokens;
use crate::session::Session;
use crate::sessions::Sessions;

/// Plans jobs from their sessions.
#[derive(Clone, Debug)]
pub struct JobBlueprint {
    /// The sessions, and their workspaces.
    pub sessions: Sessions,
    /// Mints what the container shows to the LLM proxy.
    pub tokens: AttemptTokens,
    /// Tells an app who it is at the platform's provider.
    pub identities: AppIdentity,
    /// The image of every container.
    pub image: String,
    /// What separates them from the host.
    pub isolation: Isolation,
    /// The agent team.
    pub team: Team,
}

/// What separates the containers of each kind of job from the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Agents and commands.
    pub agent: OciRuntime,
    /// Dev servers.
    pub dev: OciRuntime,
    /// Production builds.
    pub build: OciRuntime,
}

impl Isolation {
    /// That of one kind.
    pub fn of(&self, kind: Kind) -> OciRuntime {
        match kind {
            Kind::Agent => self.agent,
            Kind::Dev => self.dev,
            Kind::Build => self.build,
        }
    }
}

#[async_trait]
impl Blueprint for JobBlueprint {
    async fn plan(&self, job: &Job) -> Result<Plan, String> {
        let session = self.sessions.get(&job.session, None).await.map_err(|error| error.to_string())?;
        // a container must never be given a directory that the engine would have to make up
        let workspaces = self.sessions.workspaces();
        workspaces.workspace(&session.workspace).await.map_err(|error| format!("the workspace: {error}"))?;
        Ok(Plan {
            spec: ContainerSpec {
                image: self.image.clone(),
                limits: job.spec.limits,
                network: Network::None,
                oci_runtime: self.isolation.of(job.spec.kind),
            },
            workspace_dir: workspaces.host_path(&session.workspace),
            labels: labels(job),
            env: self.env(job, &session),
            team: if job.spec.command.is_empty() { self.team.clone() } else { Team::default() },
            workspace: session.workspace,
        })
    }
}

impl JobBlueprint {
    /// The environment: what the caller may change, what the caller adds, and what nobody overrides.
    fn env(&self, job: &Job, session: &Session) -> BTreeMap<String, String> {
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), "/tmp".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ]);
        env.extend(job.spec.env.clone());
        env.extend([
            ("SESSION_ID".to_owned(), session.id.to_string()),
            ("WORKSPACE_ID".to_owned(), session.workspace.to_string()),
            ("FRAMEWORK".to_owned(), session.framework.to_string()),
            ("PROMPT".to_owned(), job.spec.prompt.clone()),
        ]);
        // whoever else holds it could speak to the model in the session's name
        match job.spec.kind {
            Kind::Agent => {
                let token = self.tokens.mint(job.id, job.attempt);
                env.insert("OPENAI_API_KEY".to_owned(), token.expose_secret().to_owned());
            }
            // the app itself; what is built is served to everybody
            Kind::Dev => env.extend(self.identities.env(session)),
            Kind::Build => {}
        }
        env
    }
}

fn labels(job: &Job) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("mgx.session".to_owned(), job.session.to_string()),
        ("mgx.job".to_owned(), job.id.to_string()),
        ("mgx.kind".to_owned(), job.spec.kind.to_string()),
    ])
}
