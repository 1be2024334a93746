//! What a job does, and the state in which it has to end.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use mgx_testkit::SeededRandom;

/// The file in the workspace to which every command appends its number when it begins, and the negative number when it
/// ends by itself.
pub(crate) const RAN: &str = "ran.txt";

/// The file to which commands append their number and the machine's uptime as long as they run: a measure that neither the
/// wall clock nor the platform can falsify.
pub(crate) const BEATS: &str = "beats.txt";

/// Seconds by which a command may end before or after its deadline.
pub(crate) const TOLERANCE: f64 = 2.0;

/// `$1` is the job's number, `$2` how long it takes, `$3` how it ends.
const SCRIPT: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; sleep \"$2\"; echo \"done $1\"; echo \"-$1\" >>ran.txt; exit \"$3\"";

/// Runs until it is ended.
const BEAT: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; \
    while :; do read up rest </proc/uptime; echo \"$1 $up\" >>beats.txt; sleep 0.2; done";

/// Fails the first time.
const FAIL_ONCE: &str = "echo \"$1\" >>ran.txt; echo \"ran $1\"; code=3; [ -e \"once.$1\" ] && code=0; : >\"once.$1\"; \
    sleep \"$2\"; echo \"-$1\" >>ran.txt; exit $code";

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// Ends with code 0, at once or after a while.
    Succeed,
    /// Ends with code 3.
    Fail,
    /// Fails, and succeeds when it is run again.
    FailOnce,
    /// Runs for ever, with a timeout of so many seconds.
    TimeOut(u64),
    /// Is cancelled soon after it was accepted, in whatever state it is.
    Cancel,
}

impl Workload {
    /// A random workload.
    pub(crate) fn of(random: &mut SeededRandom) -> Self {
        match random.in_range(0..100) {
            0..5 => Self::Fail,
            5..8 => Self::TimeOut(random.in_range(4..9)),
            8..13 => Self::Cancel,
            13..16 => Self::FailOnce,
            _ => Self::Succeed,
        }
    }

    /// The body of the request; `shell` is the command that starts a shell in the container.
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
            Self::FailOnce => (FAIL_ONCE, millis(random.in_range(0..300)), "0"),
            Self::TimeOut(_) => (BEAT, String::new(), ""),
            Self::Cancel => (SCRIPT, "60".to_owned(), "0"),
        };
        let number = number.to_string();
        let command = [shell, &["-c", script, "job", &number, &seconds, code]].concat();
        let timeout_s = if let Self::TimeOut(seconds) = self { seconds } else { 120 };
        let times = self.max_runs() - 1;
        json!({ "command": command, "timeout_s": timeout_s, "retry": { "times": times, "backoff_s": 0 } })
    }

    /// How often the command may run.
    pub(crate) fn max_runs(self) -> usize {
        match self {
            Self::FailOnce => 2,
            Self::Succeed | Self::Fail | Self::TimeOut(_) | Self::Cancel => 1,
        }
    }

    /// Whether a job with this workload may end in `state`.
    pub(crate) fn may_end_in(self, state: &str) -> bool {
        match self {
            Self::Succeed | Self::FailOnce => state == "succeeded",
            Self::Fail => state == "failed",
            Self::TimeOut(_) => state == "timed_out",
            Self::Cancel => state == "cancelled",
        }
    }
}

fn millis(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}
