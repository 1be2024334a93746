//! `mgx ps` and `mgx cancel`: list jobs, and end one.

use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use jiff::Timestamp;
use mgx_client::{Client, Job, JobQuery};
use mgx_protocol::{Attempt, JobId, SessionId, SlotId, StateName};

use crate::cli::out::{self, Failure, Outcome, harmless};

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List jobs that have ended, too.
    #[arg(long, short)]
    all: bool,
    /// List only the jobs of this session.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// List at most N jobs, the newest first.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// Which job to end.
#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// The job; `mgx ps` lists them.
    job: JobId,
}

/// Lists jobs.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let mut rows = Vec::new();
    let mut query = JobQuery { session: args.session.clone(), limit: Some(200), ..JobQuery::default() };
    loop {
        let page = client.jobs(&query).await?;
        query.cursor = page.next;
        rows.extend(page.jobs.into_iter().filter(|job| args.all || !job.has_ended()));
        if query.cursor.is_none() || rows.len() >= args.limit.into() {
            break;
        }
    }
    rows.truncate(args.limit.into());
    if args.json {
        for job in &rows {
            out::json(job);
        }
    } else {
        out::line(table(&rows, Timestamp::now()));
        if rows.is_empty() && !args.all {
            out::note("no job is waiting or running; `mgx ps --all` lists those that have ended too");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends a job.
pub(crate) async fn cancel(client: &Client, args: &CancelArgs) -> Outcome {
    let Some(job) = client.cancel(args.job).await? else {
        return Err(Failure::new(format!("there is no job {}; `mgx ps` lists them", args.job)));
    };
    out::line(format!(
        "job {} is {}; its end comes as an event of session {}",
        args.job,
        harmless(&job.state.to_string()),
        job.session_id
    ));
    Ok(ExitCode::SUCCESS)
}

fn table(jobs: &[Job], now: Timestamp) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["JOB", "SESSION", "STATE", "KIND", "AGE", "CONTAINER"]);
    for job in jobs {
        let state = match &job.reason {
            None => job.state.to_string(),
            Some(reason) => format!("{} ({reason})", job.state),
        };
        let cells = [
            job.job_id.to_string(),
            job.session_id.to_string(),
            state,
            job.kind.clone(),
            age(now.duration_since(job.queued_at).as_secs()),
            container(job).unwrap_or_default(),
        ];
        table.add_row(cells.map(|cell| harmless(&cell)));
    }
    table
}

/// The name of the job's container, in the states in which a job has one.
fn container(job: &Job) -> Option<String> {
    let slot = SlotId::of(job.job_id, Attempt(job.attempt));
    match job.state.known()? {
        StateName::Starting | StateName::Running | StateName::Stopping => Some(format!("mgx-{slot}")),
        StateName::Queued
        | StateName::Admitted
        | StateName::Succeeded
        | StateName::Failed
        | StateName::Cancelled
        | StateName::TimedOut
        | StateName::Expired => None,
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400.. => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn jobs_are_a_table() {
        let job = |state: &str, reason: Option<&str>| {
            let job = json!({
                "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "user": "admin", "state": state,
                "kind": "agent", "reason": reason, "attempt": 1, "timeout_s": 1800, "queued_at": "2026-11-22T10:00:00Z"
            });
            serde_json::from_value::<Job>(job).unwrap()
        };
        let now = "2026-11-22T11:30:00Z".parse().unwrap();
        let table = table(&[job("running", None), job("failed", Some("oom_killed"))], now).to_string();
        let table = table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(table, @r"
        JOB                                   SESSION  STATE                KIND   AGE  CONTAINER
        0193a5b0-0000-7000-8000-000000000001  demo     running              agent  1h   mgx-0193a5b0000070008000000000000001-1
        0193a5b0-0000-7000-8000-000000000001  demo     failed (oom_killed)  agent  1h
        ");
    }
}
