//! The agent team: the command of an invocation that names none. Its roles work one after the other.
//!
//! It is an ordinary process of the container: it learns its task from its environment, reports over the event
//! socket, and talks to the model over the loopback port that leads to the platform.

mod llm;
mod reply;
mod report;
mod role;
mod router;
mod search;
mod tools;
mod workspace;

use std::io;
use std::path::PathBuf;

use mgx_protocol::{Role, Team, WORKSPACE_DIR};
use serde_json::json;

use crate::events;
use llm::Client;
use report::Report;
use role::{Desk, Done};
use router::{ROUTER, Route, route};
use tools::Tool;
use workspace::Workspace;

/// The environment variable that describes the team to its process: a [`Team`] in JSON.
pub(crate) const TEAM: &str = "MGX_TEAM";

/// The environment variable that names another directory than [`WORKSPACE_DIR`].
const DIRECTORY: &str = "MGX_WORKSPACE_DIR";

/// Lets the team work; whether it did what it was asked. Why not has been reported.
///
/// # Errors
/// The runner that started it is gone.
pub(crate) async fn run() -> io::Result<bool> {
    let socket = variable(events::VARIABLE).map_err(io::Error::other)?;
    let mut report = Report::open(&PathBuf::from(socket)).await?;
    let (team, client, workspace) = match materials() {
        Ok(materials) => materials,
        Err(error) => {
            report.finish(Some(&error)).await?;
            return Ok(false);
        }
    };
    let mut desk = Desk { client, report, workspace, max_turns: team.max_turns.max(1) };
    let failure = work(&mut desk, &team).await?;
    desk.report.finish(failure.as_deref()).await?;
    Ok(failure.is_none())
}

/// What the team needs before it can begin.
fn materials() -> Result<(Team, Client, Workspace), String> {
    let team: Team = serde_json::from_str(&variable(TEAM)?).map_err(|error| format!("{TEAM}: {error}"))?;
    if team.roles.iter().all(|role| role.name == ROUTER) {
        return Err("the team has no roles".into());
    }
    let client = Client::new(&variable("OPENAI_BASE_URL")?, variable("OPENAI_API_KEY")?)?;
    let directory = variable(DIRECTORY).unwrap_or_else(|_| WORKSPACE_DIR.into());
    let workspace = Workspace::open(&PathBuf::from(&directory))
        .map_err(|error| format!("cannot open the workspace {directory}: {error}"))?;
    Ok((team, client, workspace))
}

/// One role after the other; why the first that could not finish could not.
async fn work(desk: &mut Desk, team: &Team) -> io::Result<Option<String>> {
    let prompt = variable("PROMPT").unwrap_or_default();
    let framework = variable("FRAMEWORK").unwrap_or_default();
    let start = |role: &Role| json!({ "prompt": prompt, "framework": framework, "model": role.model });
    let mut roles: Vec<_> = team.roles.iter().filter(|role| role.name != ROUTER).collect();
    if let Some(router) = team.roles.iter().find(|role| role.name == ROUTER).filter(|_| roles.len() > 1) {
        desk.report.event("agent_start", ROUTER, start(router)).await?;
        let Route { roles: chosen, usage, error } = route(desk, router, &roles, &prompt).await;
        let names: Vec<_> = chosen.iter().map(|role| role.name.as_str()).collect();
        let status = if error.is_none() { "success" } else { "error" };
        let mut end = json!({ "status": status, "output": names.join(", "), "usage": usage });
        if let Some(error) = error {
            end["error"] = json!(error);
        }
        desk.report.event("agent_end", ROUTER, end).await?;
        roles = chosen;
    }
    let mut done: Vec<Done> = Vec::new();
    for role in roles {
        desk.report.event("agent_start", &role.name, start(role)).await?;
        for unknown in role.tools.iter().filter(|name| Tool::named(name).is_none()) {
            let text = format!("the role {} is to have a tool {unknown:?}, which does not exist", role.name);
            desk.report.event("log", &role.name, json!({ "stream": "runner", "text": text })).await?;
        }
        match desk.work(role, &prompt, &done).await {
            Ok(finished) => {
                let end = json!({ "status": "success", "output": finished.output, "usage": finished.usage });
                desk.report.event("agent_end", &role.name, end).await?;
                done.push(finished);
            }
            Err(error) => {
                let data = json!({ "error": error.to_string(), "error_type": error.kind() });
                desk.report.event("agent_error", &role.name, data).await?;
                return Ok(Some(format!("the {} could not finish: {error}", role.name)));
            }
        }
    }
    Ok(None)
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
