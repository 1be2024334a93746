//! `mgx ps`: list jobs.

use std::process::ExitCode;

use mgx_client::{Client, Job, JobQuery};
use mgx_protocol::{Attempt, SessionId, SlotId, StateName};

use crate::cli::ids;
use crate::cli::out::table::{Column, Form};
use crate::cli::out::{self, Outcome};

/// Which jobs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List jobs that have ended, too.
    #[arg(long, short)]
    all: bool,
    /// List only the jobs of this session.
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// List only the jobs in this state, such as `queued` or `failed`.
    #[arg(long, value_name = "STATE")]
    state: Option<StateName>,
    /// List at most N jobs, the newest first.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    #[command(flatten)]
    form: Form,
}

/// The columns of jobs.
const COLUMNS: [Column<Job>; 9] = [
    Column::new("JOB", |job, look| look.id(&job.job_id.to_string())),
    Column::new("SESSION", |job, look| look.id(job.session_id.as_str())),
    Column::further("USER", |job, _| job.user.clone()),
    Column::new("STATE", |job, _| match &job.reason {
        None => job.state.to_string(),
        Some(reason) => format!("{} ({reason})", job.state),
    }),
    Column::new("KIND", |job, _| job.kind.clone()),
    Column::further("TRY", |job, _| job.attempt.to_string()),
    Column::new("AGE", |job, look| look.age(job.queued_at)),
    Column::new("TASK", |job, _| out::short(&job.prompt, 50)),
    Column::further("CONTAINER", |job, _| container(job).unwrap_or_default()),
];

/// Lists jobs.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let session = match &args.session {
        Some(session) => Some(ids::session_id(client, session).await?),
        None => None,
    };
    let mut rows = Vec::new();
    let mut query = JobQuery { session, state: args.state, limit: Some(200), ..JobQuery::default() };
    let all = args.all || args.state.is_some_and(StateName::is_final);
    loop {
        let page = client.jobs(&query).await?;
        query.cursor = page.next;
        rows.extend(page.jobs.into_iter().filter(|job| all || !job.has_ended()));
        if query.cursor.is_none() || rows.len() >= args.limit.into() {
            break;
        }
    }
    rows.truncate(args.limit.into());
    args.form.show(&rows, |job| job.job_id.to_string(), &COLUMNS);
    if rows.is_empty() && !all && args.form.is_table() {
        out::note("no job is waiting or running; `mgx ps --all` lists those that have ended too");
    }
    Ok(ExitCode::SUCCESS)
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

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use serde_json::json;

    #[test]
    fn jobs_are_a_table() {
        let job = |state: &str, reason: Option<&str>| {
            let job = json!({
                "job_id": "0193a5b0-0000-7000-8000-000000000001", "session_id": "demo", "user": "admin", "state": state,
                "kind": "agent", "reason": reason, "attempt": 1, "timeout_s": 1800, "prompt": "Add a menu",
                "queued_at": "2026-11-22T10:00:00Z"
            });
            serde_json::from_value::<Job>(job).unwrap()
        };
        let now: Timestamp = "2026-11-22T11:30:00Z".parse().unwrap();
        let rows = [job("running", None), job("failed", Some("oom_killed"))];
        insta::assert_snapshot!(Form::default().table(&rows, &COLUMNS, now), @r"
        JOB       SESSION  STATE                KIND   AGE  TASK
        00000001  demo     running              agent  1h   Add a menu
        00000001  demo     failed (oom_killed)  agent  1h   Add a menu
        ");
        let wide = Form::WIDE.table(&rows, &COLUMNS, now);
        assert!(wide.contains("mgx-0193a5b0000070008000000000000001-1"), "{wide}");
    }
}
