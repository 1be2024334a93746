//! The names of a job's states, as they stand in events, answers and filters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a job stands, without the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// Stored, and waiting for its turn.
    Queued,
    /// It holds a slot.
    Admitted,
    /// Its container is being made.
    Starting,
    /// Its command runs.
    Running,
    /// Its command is being ended.
    Stopping,
    /// It did what it was asked.
    Succeeded,
    /// It did not.
    Failed,
    /// Its end was asked for.
    Cancelled,
    /// Its command ran longer than allowed.
    TimedOut,
    /// It waited longer than allowed.
    Expired,
}

impl StateName {
    /// Every name, in the order in which a job passes through them.
    pub const ALL: [Self; 10] = [
        Self::Queued,
        Self::Admitted,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::Expired,
    ];

    /// The name: `timed_out`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Admitted => "admitted",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::Expired => "expired",
        }
    }

    /// Whether a job in this state has ended.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Admitted | Self::Starting | Self::Running | Self::Stopping => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Expired => true,
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StateName {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A text that is not the name of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a job's state is queued, admitted, starting, running, stopping, succeeded, failed, cancelled, timed_out or expired"
)]
pub struct UnknownState;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_the_state_it_names() {
        for state in StateName::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!("Queued".parse::<StateName>(), Err(UnknownState));
    }
}
