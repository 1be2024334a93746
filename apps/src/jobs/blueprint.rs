//! The blueprint of a job: its container, its environment and its team, from its kind and its session.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mgx_protocol::{Conversation, Team};
use mgx_runtimes::{ContainerSpec, Network};
use mgx_scheduler::{Blueprint, Plan};
use mgx_scheduler::{Job, Kind};
use secrecy::ExposeSecret;

use crate::identity::app_identity::AppIdentity;
use crate::identity::attempt_token::AttemptTokens;
use crate::jobs::isolation::Isolation;
use crate::jobs::team::Language;
use crate::sessions::Sessions;
use crate::sessions::session::Session;

/// Makes the plans of jobs from their sessions.
#[derive(Clone, Debug)]
pub struct JobBlueprint {
    /// The sessions and their workspaces.
    pub sessions: Sessions,
    /// Mints the token that an agent shows to the LLM proxy.
    pub tokens: AttemptTokens,
    /// Makes the client that an app is at the platform's OAuth 2 provider.
    pub identities: AppIdentity,
    /// The image of every container.
    pub image: String,
    /// What separates the containers from the host.
    pub isolation: Isolation,
    /// The agent team, with prompts in English and in Chinese.
    pub teams: [Team; 2],
}

#[async_trait]
impl Blueprint for JobBlueprint {
    async fn plan(&self, job: &Job) -> Result<Plan, String> {
        let session = self.sessions.get(&job.session, None).await.map_err(|error| error.to_string())?;
        // the engine would create a directory that is missing, so the workspace must exist
        self.sessions.ensure_workspace(&session).await.map_err(|error| format!("the workspace: {error}"))?;
        let workspaces = self.sessions.workspaces();
        let is_team = job.spec.command.is_empty();
        let conversation = if is_team {
            self.sessions.conversation(job).await.map_err(|error| format!("the conversation: {error}"))?
        } else {
            Conversation::default()
        };
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
            team: if is_team { self.team_of(job) } else { Team::default() },
            workspace: session.workspace,
            conversation,
        })
    }
}

impl JobBlueprint {
    /// The team, with prompts in the language of the request. In an outage of the model's provider, an attempt asks once and returns its slot again.
    fn team_of(&self, job: &Job) -> Team {
        let mut team = self.teams[Language::of(&job.spec.prompt) as usize].clone();
        if job.provider_wait.is_some() {
            team.retry.hold_ms = 0;
        }
        team
    }

    /// The environment: defaults that the caller may change, the caller's variables, and those that the caller cannot set.
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
        match job.spec.kind {
            // A command may run code that a model wrote. Only the team gets the token that reaches the model.
            Kind::Agent if job.spec.command.is_empty() => {
                let token = self.tokens.mint(job.id, job.attempt);
                env.insert("OPENAI_API_KEY".to_owned(), token.expose_secret().to_owned());
            }
            // the app itself gets its client secret; a build does not, because its result is served to browsers
            Kind::Dev => env.extend(self.identities.env(session)),
            Kind::Agent | Kind::Build => {}
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

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use jiff::Timestamp;
    use mgx_protocol::{Attempt, JobId};
    use mgx_runtimes::Limits;
    use mgx_scheduler::{JobSpec, SchedulingOptions, State};

    /// A job of the team.
    pub(crate) fn job() -> Job {
        Job {
            id: JobId::default(),
            session: "demo".parse().unwrap(),
            user: "anna".to_owned(),
            spec: JobSpec {
                kind: Kind::Agent,
                prompt: "a page".to_owned(),
                command: Vec::new(),
                env: BTreeMap::new(),
                workdir: String::new(),
                limits: Limits { memory_bytes: 1, cpu_quota: 1, pids: 1 },
                timeout_s: 60,
                options: SchedulingOptions::default(),
                continues: Vec::new(),
            },
            state: State::Queued,
            attempt: Attempt(1),
            runs: 0,
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
}
