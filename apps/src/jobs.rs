//! What a job of each kind is given: its container, its environment, the agent team.

pub(crate) mod blueprint;
pub(crate) mod isolation;
pub(crate) mod team;
