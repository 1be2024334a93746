//! The agent team: the command of an invocation that names none. Its roles work one after the other.
//!
//! It is an ordinary process of the container: its task is in its environment, it reports over the event socket, and it
//! calls the model over the loopback port of the LLM proxy. Read `role.rs` next: the loop of one role.

mod begun;
mod context;
mod files;
mod memory;
mod model;
mod progress;
mod report;
mod role;
mod router;
mod team_context;
mod tools;
mod verdict;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use mgx_protocol::{Conversation, EventKind, Role, Team, WORKSPACE_DIR};
use serde_json::json;

use crate::output::event_socket;
use begun::Begun;
use context::Contexts;
use files::workspace::Workspace;
use model::client::Client;
use model::error::LlmError;
use model::reply::CallIds;
use report::reporter::{EventReporter, TeamEnd};
use role::RoleError;
use router::{ROUTER, Route, route};
use team_context::{RoleEnd, RoleOutput, TeamContext};
use tools::Tool;

/// The environment variable that describes the team to its process: a [`Team`] in JSON.
pub(crate) const TEAM: &str = "MGX_TEAM";

/// The environment variable that names the file with the [`Conversation`], in JSON.
pub(crate) const CONVERSATION: &str = "MGX_CONVERSATION";

/// The environment variable that names the workspace if it is not at [`WORKSPACE_DIR`].
const WORKSPACE_VARIABLE: &str = "MGX_WORKSPACE_DIR";

/// The agent of the messages that summarise the conversation.
pub(crate) const SUMMARY: &str = "summary";

/// The role that changes the app, and to which QA sends work back.
pub(crate) const ENGINEER: &str = "engineer";

/// Runs the team; whether it succeeded. A failure has been reported.
///
/// # Errors
/// The runner does not take events any more.
pub(crate) async fn run() -> io::Result<bool> {
    let socket = variable(event_socket::PATH_VARIABLE).map_err(io::Error::other)?;
    let mut report = EventReporter::open(&PathBuf::from(socket)).await?;
    let (team, client, workspace, conversation) = match setup() {
        Ok(setup) => setup,
        Err(error) => {
            report.finish(&TeamEnd::Failed(error)).await?;
            return Ok(false);
        }
    };
    let mut ids = CallIds::default();
    let begun = Begun::new(conversation.begun.clone(), &mut ids);
    let mut context = TeamContext {
        client,
        report,
        max_turns: team.max_turns.max(1),
        retry: team.retry,
        contexts: Contexts::new(team.context_tokens),
        ids,
        begun,
        files: memory::files(&workspace, &conversation),
        workspace,
        conversation,
        framework: variable("FRAMEWORK").unwrap_or_default(),
        prompt: variable("PROMPT").unwrap_or_default(),
        is_change_asked: None,
    };
    let end = run_roles(&mut context, &team).await?;
    context.report.finish(&end).await?;
    Ok(end == TeamEnd::Success)
}

/// What the team needs before it can begin, from the environment.
fn setup() -> Result<(Team, Client, Workspace, Conversation), String> {
    let team: Team = serde_json::from_str(&variable(TEAM)?).map_err(|error| format!("{TEAM}: {error}"))?;
    if team.roles.iter().all(|role| role.name == ROUTER) {
        return Err("the team has no roles".into());
    }
    let client = Client::new(&variable("OPENAI_BASE_URL")?, variable("OPENAI_API_KEY")?)?;
    let directory = variable(WORKSPACE_VARIABLE).unwrap_or_else(|_| WORKSPACE_DIR.into());
    let workspace = Workspace::open(&PathBuf::from(&directory))
        .map_err(|error| format!("cannot open the workspace {directory}: {error}"))?;
    let conversation = match std::env::var(CONVERSATION) {
        Ok(path) => std::fs::read(&path)
            .map_err(|error| error.to_string())
            .and_then(|json| serde_json::from_slice(&json).map_err(|error| error.to_string()))
            .map_err(|error| format!("cannot read the conversation {path}: {error}"))?,
        Err(_) => Conversation::default(),
    };
    Ok((team, client, workspace, conversation))
}

/// Runs one role after the other; how they have ended.
async fn run_roles(context: &mut TeamContext, team: &Team) -> io::Result<TeamEnd> {
    let mut roles: VecDeque<&Role> = team.roles.iter().filter(|role| role.name != ROUTER).collect();
    if let Some(first) = roles.front()
        && let Err(error) = memory::summarise_if_long(context, first).await
    {
        return Ok(ended(&first.name, &error.into()));
    }
    if let Some(router) = team.roles.iter().find(|role| role.name == ROUTER).filter(|_| roles.len() > 1) {
        match choose(context, router, roles.make_contiguous()).await? {
            Ok(chosen) => roles = chosen.into(),
            Err(end) => return Ok(end),
        }
    }
    let engineer = team.roles.iter().find(|role| role.name == ENGINEER);
    let mut exchanges = 0;
    let mut outputs: Vec<RoleOutput> = Vec::new();
    while let Some(role) = roles.pop_front() {
        start(context, role).await?;
        let output = match context.run_role(role, &outputs).await {
            Ok(output) => output,
            Err(error) => {
                let end = ended(&role.name, &error);
                // a role that waits for the provider goes on later
                if let TeamEnd::Failed(_) = end {
                    let data = json!({ "error": error.to_string(), "error_type": error.kind() });
                    context.report.event(&EventKind::AgentError, &role.name, data).await?;
                }
                return Ok(end);
            }
        };
        report_end(context, &output).await?;
        match output.end {
            RoleEnd::Done => {}
            // the user's answer is the next prompt of the conversation
            RoleEnd::Question => return Ok(TeamEnd::Success),
            RoleEnd::SentBack => {
                let Some(engineer) = engineer.filter(|_| exchanges < team.max_exchanges) else {
                    return Ok(TeamEnd::Failed(format!(
                        "the {} found defects that are not mended after {exchanges} exchanges with the engineer \
                         (agents.max_exchanges is {}): {}",
                        role.name, team.max_exchanges, output.message
                    )));
                };
                exchanges += 1;
                roles.push_front(role);
                roles.push_front(engineer);
            }
        }
        outputs.push(output);
    }
    Ok(TeamEnd::Success)
}

async fn report_end(context: &mut TeamContext, output: &RoleOutput) -> io::Result<()> {
    let mut end = json!({ "status": "success", "output": output.message, "usage": output.usage });
    match output.end {
        RoleEnd::Done => {}
        RoleEnd::Question => end["question"] = json!(output.message),
        RoleEnd::SentBack => end["sent_back"] = json!(true),
    }
    context.report.event(&EventKind::AgentEnd, &output.role, end).await
}

/// Lets the router choose among `roles`; how the team has ended, if the provider is away.
async fn choose<'a>(
    context: &mut TeamContext,
    router: &Role,
    roles: &[&'a Role],
) -> io::Result<Result<Vec<&'a Role>, TeamEnd>> {
    start(context, router).await?;
    let Route { roles: chosen, usage, changes, error } = route(context, router, roles).await;
    if let Some(LlmError::Away { reason, resume_after }) = error {
        return Ok(Err(TeamEnd::Away { reason, resume_after }));
    }
    context.is_change_asked = changes;
    let names: Vec<_> = chosen.iter().map(|role| role.name.as_str()).collect();
    let status = if error.is_none() { "success" } else { "error" };
    let mut end = json!({ "status": status, "output": names.join(", "), "usage": usage });
    if let Some(error) = error {
        end["error"] = json!(error.to_string());
    }
    context.report.event(&EventKind::AgentEnd, &router.name, end).await?;
    Ok(Ok(chosen))
}

async fn start(context: &mut TeamContext, role: &Role) -> io::Result<()> {
    let data = json!({ "prompt": context.prompt, "framework": context.framework, "model": role.model });
    context.report.event(&EventKind::AgentStart, &role.name, data).await?;
    for unknown in role.tools.iter().filter(|name| Tool::named(name).is_none()) {
        let text = format!("the role {} is to have a tool {unknown:?}, which does not exist", role.name);
        let data = json!({ "stream": "runner", "text": text });
        context.report.event(&EventKind::Log, &role.name, data).await?;
    }
    Ok(())
}

/// How the team has ended when a role could not finish.
fn ended(role: &str, error: &RoleError) -> TeamEnd {
    match error {
        RoleError::Llm(LlmError::Away { reason, resume_after }) => {
            TeamEnd::Away { reason: reason.clone(), resume_after: *resume_after }
        }
        RoleError::Llm(_) | RoleError::Turns(_) | RoleError::Unfinished { .. } => {
            TeamEnd::Failed(format!("the {role} could not finish: {error}"))
        }
    }
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
