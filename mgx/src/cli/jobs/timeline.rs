//! `mgx timeline`: where the time of a job went, as bars.

use std::process::ExitCode;

use crate::cli::ids::JobName;
use crate::cli::out::{self, Failure, Outcome, harmless};
use mgx_client::Client;
use mgx_client::jobs::timeline::{Stage, Timeline};

/// Which job to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job; `mgx ps --all` lists them.
    job: JobName,
    /// Print the answer of the server as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// The width of the longest bar, in characters.
const WIDTH: u64 = 48;

/// Shows where the time of a job went.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let job = args.job.find(client).await?;
    let Some(timeline) = client.timeline(job).await? else {
        return Err(Failure::new(format!("there is no job {job}; `mgx ps --all` lists them")));
    };
    if args.json {
        out::json(&timeline);
    } else {
        out::line(chart(&timeline));
    }
    Ok(ExitCode::SUCCESS)
}

fn chart(timeline: &Timeline) -> String {
    let Timeline { job_id, session_id, state, elapsed_ms, earlier_attempts, attempts, .. } = timeline;
    let state = harmless(&state.to_string());
    let mut lines = vec![format!("job {job_id} of session {session_id}: {state}, {}", time(*elapsed_ms))];
    if *earlier_attempts > 0 {
        lines.push(format!("{earlier_attempts} earlier attempts are not shown"));
    }
    for attempt in attempts {
        if attempts.len() > 1 || attempt.attempt > 1 {
            lines.push(format!("attempt {}", attempt.attempt));
        }
        if attempt.reattached > 0 {
            let times = attempt.reattached;
            lines.push(format!("  taken up again {times}× by a platform that had been restarted"));
        }
        lines.extend(attempt.stages.iter().map(|stage| bar(stage, *elapsed_ms)));
    }
    lines.join("\n")
}

/// `starting      12 ms    310 ms    ███`
fn bar(stage: &Stage, total: u64) -> String {
    let name = harmless(&stage.stage).replace('_', " ");
    let (start, end) = (stage.start_ms, stage.end_ms);
    let takes = end.unwrap_or(total).saturating_sub(start);
    // in eighths of a character, so that a short stage is visible
    let eighths = |millis: u64| millis.min(total).saturating_mul(WIDTH * 8) / total.max(1);
    let (from, length) = (eighths(start), eighths(takes));
    let gap = " ".repeat(usize::try_from(from / 8).unwrap_or(0));
    let full = "█".repeat(usize::try_from(length / 8).unwrap_or(0));
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][usize::try_from(length % 8).unwrap_or(0)];
    let thin = if takes > 0 && length == 0 { "▏" } else { "" };
    let open = if end.is_none() { "…" } else { "" };
    let line = format!("  {name:<12}{:>9}{:>9}{open:<1} {gap}{full}{rest}{thin}", time(start), time(takes));
    line.trim_end().to_owned()
}

/// Milliseconds up to ten seconds, then tenths of seconds, then minutes.
fn time(millis: u64) -> String {
    match millis {
        ..10_000 => format!("{millis} ms"),
        10_000..600_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        600_000.. => format!("{} min", millis / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn timeline(state: &str, elapsed_ms: u64, attempts: &Value) -> Timeline {
        let timeline = json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "state": state,
            "submitted_at": "2026-11-22T10:30:00Z", "elapsed_ms": elapsed_ms, "earlier_attempts": 0,
            "attempts": attempts,
        });
        serde_json::from_value(timeline).unwrap()
    }

    #[test]
    fn stages_are_bars() {
        let stage = |stage: &str, start_ms: u64, end_ms: Option<u64>| json!({ "stage": stage, "start_ms": start_ms, "end_ms": end_ms });
        let timeline = timeline(
            "running",
            4000,
            &json!([
                { "attempt": 1, "reattached": 0, "stages": [
                    stage("queued", 0, Some(1)), stage("admitted", 1, Some(1)), stage("starting", 1, Some(1000))] },
                { "attempt": 2, "reattached": 1, "stages": [
                    stage("queued", 1000, Some(1500)), stage("running", 1500, Some(1800)),
                    stage("first_event", 1800, None)] },
            ]),
        );
        insta::assert_snapshot!(chart(&timeline));
    }

    #[test]
    fn a_job_without_time_has_bars_without_length() {
        let stages = json!([{ "stage": "queued", "start_ms": 0, "end_ms": null }]);
        let attempts = json!([{ "attempt": 1, "reattached": 0, "stages": stages }]);
        let timeline = timeline("queued", 0, &attempts);
        assert!(chart(&timeline).ends_with("  queued           0 ms     0 ms…"), "{}", chart(&timeline));
    }
}
