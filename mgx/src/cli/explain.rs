//! `mgx explain`: what a job waits for, who holds it, how long it will be, and what would help.

use std::process::ExitCode;

use mgx_client::Client;
use mgx_protocol::JobId;
use serde_json::Value;

use super::out::{self, Failure, Outcome, harmless};

/// Which job.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job; `mgx ps` lists them.
    job: JobId,
    /// The server's answer as it is.
    #[arg(long)]
    json: bool,
}

/// Says why a job is where it is.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let Some(explained) = client.explain(args.job).await? else {
        return Err(Failure::new(format!("there is no job {}; `mgx ps --all` lists them", args.job)));
    };
    if args.json {
        out::line(explained);
    } else {
        out::line(harmless(&sentences(&explained)));
    }
    Ok(ExitCode::SUCCESS)
}

fn sentences(explained: &Value) -> String {
    let word = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value, key: &str| value[key].as_u64();
    let why = match explained["waits_for"].as_str().unwrap_or_default() {
        "start_time" => "waits for the time it is to begin at",
        "retry" => "waits for the pause before its next try",
        "turn" => "waits for its turn: others go first",
        "limit" => "is next, but a limit is reached",
        "engine" => "waits for the container engine, which does not answer",
        "container" => "waits for its container",
        "command" => "waits for nothing: its command runs",
        "stop" => "is being ended",
        "nothing" => "has ended",
        other => other,
    };
    let mut lines =
        vec![format!("job {} is {}: it {why}", word(explained, "job_id"), word(explained, "state"))];
    if let Some(position) = number(explained, "position") {
        let eta = match (number(explained, "eta_ms"), number(explained, "eta_error_ms")) {
            (Some(eta), Some(error)) => format!("its turn comes in about {} ± {}", time(eta), time(error)),
            (Some(eta), None) => format!("its turn comes in about {}", time(eta)),
            (None, _) => {
                "nobody can say when: no job has ended yet since the platform was started".to_owned()
            }
        };
        lines.push(format!("  position  {position}; {eta}"));
    }
    let binding = &explained["binding"];
    if binding.is_object() {
        let count = |key: &str| number(binding, key).unwrap_or(0);
        lines.push(format!(
            "  limit     {}: {} of {} in use, this job asks for {}",
            word(binding, "limit"),
            count("used"),
            count("max"),
            count("asked")
        ));
        let holders = binding["holders"].as_array().map_or(&[][..], Vec::as_slice);
        for holder in holders {
            let until = holder["deadline_at"].as_str().map(|at| format!(", until {at} at the latest"));
            lines.push(format!(
                "  held by   {} of session {}, user {}, {}{}",
                word(holder, "job_id"),
                word(holder, "session_id"),
                word(holder, "user"),
                word(holder, "state"),
                until.unwrap_or_default()
            ));
        }
        let more = count("holder_count").saturating_sub(holders.len() as u64);
        if more > 0 {
            lines.push(format!("            and {more} more"));
        }
    }
    if let Some(remedy) = explained["remedy"].as_str() {
        lines.push(format!("  remedy    {remedy}"));
    }
    lines.join("\n")
}

fn time(millis: u64) -> String {
    match millis {
        ..1000 => format!("{millis} ms"),
        1000..120_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        120_000.. => format!("{} min", millis / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_limit_is_named_with_who_holds_it() {
        let explained = json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000002", "state": "queued", "waits_for": "limit", "position": 1,
            "eta_ms": 4200, "eta_error_ms": 900, "remedy": "cancel 0193a5b0-0000-7000-8000-000000000001, or raise running above 2",
            "binding": { "limit": "running", "used": 2, "asked": 1, "max": 2, "holder_count": 2, "holders": [{
                "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "user": "admin",
                "state": "running", "deadline_at": "2026-11-22T10:30:00Z" }] },
        });
        insta::assert_snapshot!(sentences(&explained), @r"
        job 0193a5b0-0000-7000-8000-000000000002 is queued: it is next, but a limit is reached
          position  1; its turn comes in about 4.2 s ± 900 ms
          limit     running: 2 of 2 in use, this job asks for 1
          held by   0193a5b0-0000-7000-8000-000000000001 of session demo, user admin, running, until 2026-11-22T10:30:00Z at the latest
                    and 1 more
          remedy    cancel 0193a5b0-0000-7000-8000-000000000001, or raise running above 2
        ");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let explained =
            json!({ "job_id": "x", "state": "queued", "waits_for": "turn", "position": 3, "eta_ms": null });
        insta::assert_snapshot!(sentences(&explained), @r"
        job x is queued: it waits for its turn: others go first
          position  3; nobody can say when: no job has ended yet since the platform was started
        ");
    }
}
