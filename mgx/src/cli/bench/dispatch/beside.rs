//! Another queue on the same machine, measured in turns with this one.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::out;

/// How often each of the two is measured.
const ROUNDS: usize = 3;

/// How long the other program may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Jobs a second from end to end, ours and theirs, round by round.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rounds {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Rounds {
    /// Measures in turns, so that what changes on the machine meanwhile changes for both: `ours`, then `command`,
    /// whose last line is a JSON object with an `end_to_end_per_s`.
    pub(super) async fn measure(
        command: &str,
        ours: impl AsyncFn() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Self> {
        let mut rounds = Self::default();
        for round in 1..=ROUNDS {
            let (mine, other) = (ours().await?, theirs(command).await?);
            out::note(format_args!("round {round} of {ROUNDS}: {mine:.0} jobs/s, beside {other:.0}"));
            rounds.ours.push(mine);
            rounds.theirs.push(other);
        }
        Ok(rounds)
    }

    /// The medians, and how many times theirs ours is.
    pub(super) fn report(&self) -> Value {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        json!({
            "end_to_end_per_s": { "ours": ours.round(), "theirs": theirs.round() },
            "rounds": self.ours.len(),
            "times": (ours / theirs * 10.0).round() / 10.0,
        })
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match (sorted.get(low), sorted.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        (_, None) | (None, _) => f64::NAN,
    }
}

/// Runs `command` and reads the last line that it prints.
async fn theirs(command: &str) -> anyhow::Result<f64> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, shell.output()).await.context("it took too long")??;
    ensure!(output.status.success(), "{command} ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.trim_end().lines().last().unwrap_or_default();
    let rate =
        serde_json::from_str::<Value>(last).ok().and_then(|report| report["end_to_end_per_s"].as_f64());
    let rate = rate.with_context(|| format!("{command} printed {last:?} last, no end_to_end_per_s"))?;
    ensure!(rate > 0.0, "{command} has a rate of {rate}");
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_are_measured_in_turns_and_their_medians_compared() {
        let directory = tempfile::tempdir().unwrap();
        let order = directory.path().join("order");
        let path = order.display();
        let ours = async || {
            use std::io::Write;
            let mut order = std::fs::OpenOptions::new().append(true).create(true).open(&order)?;
            order.write_all(b"ours ")?;
            Ok(1000.0)
        };
        let command = format!("printf 'theirs ' >> {path}; echo noise; echo '{{\"end_to_end_per_s\": 250}}'");
        let rounds = Rounds::measure(&command, ours).await.unwrap();
        assert_eq!(std::fs::read_to_string(&order).unwrap(), "ours theirs ours theirs ours theirs ");
        assert_eq!(rounds.report()["times"], 4.0);
        let silent = Rounds::measure("echo nothing", async || Ok(1.0)).await.unwrap_err();
        assert!(silent.to_string().contains("no end_to_end_per_s"), "{silent}");
    }

    #[test]
    fn a_median_is_in_the_middle() {
        let medians = [median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])];
        assert_eq!(serde_json::json!(medians), serde_json::json!([2.0, 2.5]));
    }
}
