//! `mgx explain`: what a job waits for, which jobs hold that, how long it will take, and what would help.

use std::process::ExitCode;

use crate::cli::ids::JobName;
use crate::cli::out::{self, Failure, Outcome, harmless};
use mgx_client::Client;
use mgx_client::jobs::explanation::{BindingLimit, Explanation, WaitsFor};

/// Which job to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job; `mgx ps` lists them.
    job: JobName,
    /// Print the answer of the server as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Prints why a job is where it is.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let job = args.job.find(client).await?;
    let Some(explained) = client.explain(job).await? else {
        return Err(Failure::new(format!("there is no job {job}; `mgx ps --all` lists them")));
    };
    if args.json {
        out::json(&explained);
    } else {
        out::line(harmless(&sentences(&explained)));
    }
    Ok(ExitCode::SUCCESS)
}

fn sentences(explained: &Explanation) -> String {
    let Explanation { job_id, state, waits_for, .. } = explained;
    let why = waits_for.known().map_or_else(|| waits_for.to_string(), |waits_for| why(waits_for).to_owned());
    let mut lines = vec![format!("job {job_id} is {state}: it {why}")];
    if let Some(position) = explained.position {
        let eta = match (explained.eta_ms, explained.eta_error_ms) {
            (Some(eta), Some(error)) => format!("its turn comes in about {} ± {}", time(eta), time(error)),
            (Some(eta), None) => format!("its turn comes in about {}", time(eta)),
            (None, _) => "no estimate yet: no job has ended since the platform was started".to_owned(),
        };
        lines.push(format!("  position  {position}; {eta}"));
    }
    lines.extend(explained.binding.iter().flat_map(limit));
    if let Some(wait) = &explained.provider {
        lines.push(format!("  reason    {}", wait.reason));
        lines.push(format!("  away      since {}; it is asked again at {}", wait.since, wait.until));
    }
    lines.extend(explained.remedy.iter().map(|remedy| format!("  remedy    {remedy}")));
    lines.join("\n")
}

/// What a job waits for, as the end of a sentence that begins with "it".
fn why(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::StartTime => "waits for the time it is to begin at",
        WaitsFor::Retry => "waits for the pause before its next try",
        WaitsFor::Provider => "waits, without a slot, for the model's provider, which is away",
        WaitsFor::Turn => "waits for its turn: others go first",
        WaitsFor::Limit => "is next, but a limit is reached",
        WaitsFor::Engine => "waits for the container engine, which does not answer",
        WaitsFor::Container => "waits for its container",
        WaitsFor::Command => "waits for nothing: its command runs",
        WaitsFor::Stop => "is being ended",
        WaitsFor::Nothing => "has ended",
    }
}

/// The limit that keeps a job from running, and the jobs that use it.
fn limit(binding: &BindingLimit) -> Vec<String> {
    let BindingLimit { limit, used, asked, max, holder_count, holders, leftover_count, leftovers } = binding;
    let mut lines = vec![format!("  limit     {limit}: {used} of {max} in use, this job asks for {asked}")];
    for holder in holders {
        let until = holder.deadline_at.map(|at| format!(", until {at} at the latest"));
        lines.push(format!(
            "  held by   {} of session {}, user {}, {}{}",
            holder.job_id,
            holder.session_id,
            holder.user,
            holder.state,
            until.unwrap_or_default()
        ));
    }
    let more = holder_count.saturating_sub(holders.len() as u64);
    if more > 0 {
        lines.push(format!("            and {more} more"));
    }
    for leftover in leftovers {
        lines.push(format!(
            "  left      the container of {}, which has ended: the engine keeps it",
            leftover.job_id
        ));
    }
    let more = leftover_count.saturating_sub(leftovers.len() as u64);
    if more > 0 {
        lines.push(format!("            and {more} more containers of jobs that have ended"));
    }
    lines
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
    use serde_json::{Value, json};

    fn explanation(json: Value) -> Explanation {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_limit_is_named_with_the_jobs_that_use_it() {
        let explained = explanation(json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000002", "state": "queued", "waits_for": "limit", "position": 1,
            "eta_ms": 4200, "eta_error_ms": 900, "remedy": "cancel 0193a5b0-0000-7000-8000-000000000001, or raise running above 2",
            "binding": { "limit": "running", "used": 2, "asked": 1, "max": 2, "holder_count": 2, "holders": [{
                "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "user": "admin",
                "state": "running", "deadline_at": "2026-11-22T10:30:00Z" }] },
        }));
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
    fn a_missing_estimate_is_explained() {
        let explained = explanation(json!({
            "job_id": "0193a5b0-0000-7000-8000-000000000002", "state": "queued", "waits_for": "turn", "position": 3,
            "eta_ms": null,
        }));
        insta::assert_snapshot!(sentences(&explained), @r"
        job 0193a5b0-0000-7000-8000-000000000002 is queued: it waits for its turn: others go first
          position  3; no estimate yet: no job has ended since the platform was started
        ");
    }
}
