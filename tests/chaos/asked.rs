//! What a job is asked to do, and how it has to come out.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dice::Dice;

/// The file in the workspace to which every command appends its number, once.
pub(crate) const RAN: &str = "ran.txt";

/// `$1` is the job's number, `$2` how long it takes, `$3` how it ends.
const SCRIPT: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; sleep \"$2\"; echo \"done $1\"; exit \"$3\"";

/// What a job is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// To end well, at once or after a while.
    Succeed,
    /// To end with code 3.
    Fail,
    /// To take longer than it may.
    TimeOut,
    /// To be cancelled soon, in whatever state it is.
    Cancel,
}

impl Asked {
    /// A job like many others.
    pub(crate) fn throw(dice: &mut Dice) -> Self {
        match dice.throw(0..100) {
            0..5 => Self::Fail,
            5..8 => Self::TimeOut,
            8..13 => Self::Cancel,
            _ => Self::Succeed,
        }
    }

    /// The request; `shell` is how the container starts one.
    pub(crate) fn request(self, shell: &[&str], number: u64, dice: &mut Dice) -> Value {
        let (seconds, code) = match self {
            Self::Succeed if dice.throw(0..5) == 0 => (millis(dice.throw(50..1500)), "0"),
            Self::Succeed => ("0".to_owned(), "0"),
            Self::Fail => (millis(dice.throw(0..300)), "3"),
            Self::TimeOut | Self::Cancel => ("60".to_owned(), "0"),
        };
        let number = number.to_string();
        let command = [shell, &["-c", SCRIPT, "job", &number, &seconds, code]].concat();
        json!({ "command": command, "timeout_s": if self == Self::TimeOut { 1 } else { 120 } })
    }

    /// Whether a job that was asked this may end in `state`.
    pub(crate) fn may_end_in(self, state: &str) -> bool {
        match self {
            Self::Succeed => state == "succeeded",
            Self::Fail => state == "failed",
            Self::TimeOut => state == "timed_out",
            Self::Cancel => state == "cancelled",
        }
    }
}

fn millis(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
