//! What a job is asked to do, and how it has to come out.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use mgx_testkit::SeededRandom;

/// The file in the workspace to which every command appends its number when it begins, and the same below zero when
/// it ends by itself.
pub(crate) const RAN: &str = "ran.txt";

/// The file to which commands append their number and how long the machine has been up, as long as they live: a
/// witness that no clock and no platform can confuse.
pub(crate) const BEATS: &str = "beats.txt";

/// Seconds that a command may end before its deadline or live after it.
pub(crate) const TOLERANCE: f64 = 2.0;

/// `$1` is the job's number, `$2` how long it takes, `$3` how it ends.
const SCRIPT: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; sleep \"$2\"; echo \"done $1\"; echo \"-$1\" >>ran.txt; exit \"$3\"";

/// Lives until it is ended.
const BEAT: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; \
    while :; do read up rest </proc/uptime; echo \"$1 $up\" >>beats.txt; sleep 0.2; done";

/// Fails the first time.
const AGAIN: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; code=3; [ -e \"once.$1\" ] && code=0; : >\"once.$1\"; \
    sleep \"$2\"; echo \"-$1\" >>ran.txt; exit $code";

/// What a job is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// To end well, at once or after a while.
    Succeed,
    /// To end with code 3.
    Fail,
    /// To fail, and to end well when it is run again.
    Again,
    /// To live for ever, although it may only so many seconds.
    TimeOut(u64),
    /// To be cancelled soon, in whatever state it is.
    Cancel,
}

impl Asked {
    /// A job like many others.
    pub(crate) fn of(random: &mut SeededRandom) -> Self {
        match random.in_range(0..100) {
            0..5 => Self::Fail,
            5..8 => Self::TimeOut(random.in_range(4..9)),
            8..13 => Self::Cancel,
            13..16 => Self::Again,
            _ => Self::Succeed,
        }
    }

    /// The request; `shell` is how the container starts one.
    pub(crate) fn request(self, shell: &[&str], number: u64, random: &mut SeededRandom) -> Value {
        let (script, seconds, code) = match self {
            Self::Succeed => {
                let takes = match random.in_range(0..20) {
                    0 => millis(random.in_range(2000..6000)),
                    1..5 => millis(random.in_range(50..1500)),
                    _ => "0".to_owned(),
                };
                (SCRIPT, takes, "0")
            }
            Self::Fail => (SCRIPT, millis(random.in_range(0..300)), "3"),
            Self::Again => (AGAIN, millis(random.in_range(0..300)), "0"),
            Self::TimeOut(_) => (BEAT, String::new(), ""),
            Self::Cancel => (SCRIPT, "60".to_owned(), "0"),
        };
        let number = number.to_string();
        let command = [shell, &["-c", script, "job", &number, &seconds, code]].concat();
        let timeout_s = if let Self::TimeOut(seconds) = self { seconds } else { 120 };
        let times = self.most_runs() - 1;
        json!({ "command": command, "timeout_s": timeout_s, "retry": { "times": times, "backoff_s": 0 } })
    }

    /// How often it may be run.
    pub(crate) fn most_runs(self) -> usize {
        match self {
            Self::Again => 2,
            Self::Succeed | Self::Fail | Self::TimeOut(_) | Self::Cancel => 1,
        }
    }

    /// Whether a job that was asked this may end in `state`.
    pub(crate) fn may_end_in(self, state: &str) -> bool {
        match self {
            Self::Succeed | Self::Again => state == "succeeded",
            Self::Fail => state == "failed",
            Self::TimeOut(_) => state == "timed_out",
            Self::Cancel => state == "cancelled",
        }
    }
}

fn millis(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
