//! `mgx timeline`: where a job's time went, as bars.

use std::process::ExitCode;

use mgx_client::Client;
use mgx_protocol::JobId;
use serde_json::Value;

use super::out::{self, Failure, Outcome, harmless};

/// Which job.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job; `mgx ps --all` lists them.
    job: JobId,
    /// The server's answer as it is.
    #[arg(long)]
    json: bool,
}

/// The width of the longest bar, in characters.
const WIDTH: u64 = 48;

/// Shows where the time of a job went.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let Some(timeline) = client.timeline(args.job).await? else {
        return Err(Failure::new(format!("there is no job {}; `mgx ps --all` lists them", args.job)));
    };
    if args.json {
        out::line(timeline);
    } else {
        out::line(chart(&timeline));
    }
    Ok(ExitCode::SUCCESS)
}

fn chart(timeline: &Value) -> String {
    let word = |key: &str| harmless(timeline[key].as_str().unwrap_or_default());
    let total = timeline["elapsed_ms"].as_u64().unwrap_or(0);
    let mut lines = vec![format!(
        "job {} of session {}: {}, {}",
        word("job_id"),
        word("session_id"),
        word("state"),
        time(total)
    )];
    if let Some(earlier @ 1..) = timeline["earlier_attempts"].as_u64() {
        lines.push(format!("{earlier} earlier attempts are not shown"));
    }
    let attempts = timeline["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    for attempt in attempts {
        let number = attempt["attempt"].as_u64().unwrap_or(1);
        if attempts.len() > 1 || number > 1 {
            lines.push(format!("attempt {number}"));
        }
        if let Some(times @ 1..) = attempt["reattached"].as_u64() {
            lines.push(format!("  taken up again {times}× by a platform that had been restarted"));
        }
        for stage in attempt["stages"].as_array().into_iter().flatten() {
            lines.push(bar(stage, total));
        }
    }
    lines.join("\n")
}

/// `starting      12 ms    310 ms    ███`
fn bar(stage: &Value, total: u64) -> String {
    let name = harmless(stage["stage"].as_str().unwrap_or_default()).replace('_', " ");
    let start = stage["start_ms"].as_u64().unwrap_or(0);
    let end = stage["end_ms"].as_u64();
    let takes = end.unwrap_or(total).saturating_sub(start);
    // in eighths of a character, so that a short stage is still seen
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
    use serde_json::json;

    #[test]
    fn stages_are_bars() {
        let stage = |stage: &str, start_ms: u64, end_ms: Option<u64>| json!({ "stage": stage, "start_ms": start_ms, "end_ms": end_ms });
        let timeline = json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "state": "running",
            "elapsed_ms": 4000, "earlier_attempts": 0, "attempts": [
                { "attempt": 1, "reattached": 0, "stages": [
                    stage("queued", 0, Some(1)), stage("admitted", 1, Some(1)), stage("starting", 1, Some(1000))] },
                { "attempt": 2, "reattached": 1, "stages": [
                    stage("queued", 1000, Some(1500)), stage("running", 1500, Some(1800)),
                    stage("first_event", 1800, None)] },
            ]
        });
        insta::assert_snapshot!(chart(&timeline));
    }

    #[test]
    fn a_job_without_time_has_bars_without_length() {
        let stages = json!([{ "stage": "queued", "start_ms": 0, "end_ms": null }]);
        let timeline =
            json!({ "state": "queued", "elapsed_ms": 0, "attempts": [{ "attempt": 1, "stages": stages }] });
        assert!(chart(&timeline).ends_with("  queued           0 ms     0 ms…"), "{}", chart(&timeline));
    }
}
