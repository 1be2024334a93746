//! The agent team.

/// The environment variable that describes the team to its process: a [`mgx_agent_runner::protocol::Team`] in JSON.
pub(crate) const TEAM: &str = "MGX_TEAM";
