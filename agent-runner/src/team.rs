//! The agent team: the command of an invocation that names none. Its roles work one after the other.
//!
//! It is an ordinary process of the container: its task is in its environment, it reports over the event socket, and it
//! calls the model over the loopback port of the LLM proxy.

mod router;

mod role;

mod event_reporter;
mod llm;
mod reply;
mod search;
mod tools;
mod workspace;

use std::io;
use std::path::PathBuf;

use mgx_protocol::{EventKind, Role, Team, WORKSPACE_DIR};
use serde_json::json;

use crate::output::event_socket;
use event_reporter::EventReporter;
use llm::Client;
use role::{RoleOutput, TeamContext};
use router::{ROUTER, Route, route};
use tools::Tool;
use workspace::Workspace;

/// The environment variable that describes the team to its process: a [`Team`] in JSON.
pub(crate) const TEAM: &str = "MGX_TEAM";

/// The environment variable that names the workspace if it is not at [`WORKSPACE_DIR`].
const WORKSPACE_VARIABLE: &str = "MGX_WORKSPACE_DIR";

/// Runs the team; whether it succeeded. A failure has been reported.
///
/// # Errors
/// The runner does not take events any more.
pub(crate) async fn run() -> io::Result<bool> {
    let socket = variable(event_socket::PATH_VARIABLE).map_err(io::Error::other)?;
    let mut report = EventReporter::open(&PathBuf::from(socket)).await?;
    let (team, client, workspace) = match setup() {
        Ok(setup) => setup,
        Err(error) => {
            report.finish(Some(&error)).await?;
            return Ok(false);
        }
    };
    let mut context = TeamContext { client, report, workspace, max_turns: team.max_turns.max(1) };
    let failure = run_roles(&mut context, &team).await?;
    context.report.finish(failure.as_deref()).await?;
    Ok(failure.is_none())
}

/// What the team needs before it can begin, from the environment.
fn setup() -> Result<(Team, Client, Workspace), String> {
    let team: Team = serde_json::from_str(&variable(TEAM)?).map_err(|error| format!("{TEAM}: {error}"))?;
    if team.roles.iter().all(|role| role.name == ROUTER) {
        return Err("the team has no roles".into());
    }
    let client = Client::new(&variable("OPENAI_BASE_URL")?, variable("OPENAI_API_KEY")?)?;
    let directory = variable(WORKSPACE_VARIABLE).unwrap_or_else(|_| WORKSPACE_DIR.into());
    let workspace = Workspace::open(&PathBuf::from(&directory))
        .map_err(|error| format!("cannot open the workspace {directory}: {error}"))?;
    Ok((team, client, workspace))
}

/// Runs one role after the other; why one of them failed, if it did.
async fn run_roles(context: &mut TeamContext, team: &Team) -> io::Result<Option<String>> {
    let prompt = variable("PROMPT").unwrap_or_default();
    let framework = variable("FRAMEWORK").unwrap_or_default();
    let start = |role: &Role| json!({ "prompt": prompt, "framework": framework, "model": role.model });
    let mut roles: Vec<_> = team.roles.iter().filter(|role| role.name != ROUTER).collect();
    if let Some(router) = team.roles.iter().find(|role| role.name == ROUTER).filter(|_| roles.len() > 1) {
        context.report.event(&EventKind::AgentStart, ROUTER, start(router)).await?;
        let Route { roles: chosen, usage, error } = route(context, router, &roles, &prompt).await;
        let names: Vec<_> = chosen.iter().map(|role| role.name.as_str()).collect();
        let status = if error.is_none() { "success" } else { "error" };
        let mut end = json!({ "status": status, "output": names.join(", "), "usage": usage });
        if let Some(error) = error {
            end["error"] = json!(error);
        }
        context.report.event(&EventKind::AgentEnd, ROUTER, end).await?;
        roles = chosen;
    }
    let mut outputs: Vec<RoleOutput> = Vec::new();
    for role in roles {
        context.report.event(&EventKind::AgentStart, &role.name, start(role)).await?;
        for unknown in role.tools.iter().filter(|name| Tool::named(name).is_none()) {
            let text = format!("the role {} is to have a tool {unknown:?}, which does not exist", role.name);
            context
                .report
                .event(&EventKind::Log, &role.name, json!({ "stream": "runner", "text": text }))
                .await?;
        }
        match context.run_role(role, &prompt, &outputs).await {
            Ok(output) => {
                let end = json!({ "status": "success", "output": output.message, "usage": output.usage });
                context.report.event(&EventKind::AgentEnd, &role.name, end).await?;
                outputs.push(output);
            }
            Err(error) => {
                let data = json!({ "error": error.to_string(), "error_type": error.kind() });
                context.report.event(&EventKind::AgentError, &role.name, data).await?;
                return Ok(Some(format!("the {} could not finish: {error}", role.name)));
            }
        }
    }
    Ok(None)
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
