//! `mgx cancel`: end jobs, by their ids or by what they have in common.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use futures_util::{StreamExt, stream};
use mgx_client::{Client, Error, Job, JobQuery};
use mgx_protocol::{JobId, SessionId, StateName};

use crate::cli::ids::{self, JobName};
use crate::cli::out::{self, Failure, Outcome, harmless};

/// How many requests are under way at a time.
const AT_A_TIME: usize = 16;

/// Which jobs to end.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(crate) struct Args {
    /// The jobs; `mgx ps` lists them.
    #[arg(value_name = "JOB", group = "which", conflicts_with_all = ["all", "session", "user", "state"])]
    jobs: Vec<JobName>,
    /// Every job that you may see and that has not ended; the other options narrow this.
    #[arg(long, group = "which")]
    all: bool,
    /// The jobs of this session.
    #[arg(long, value_name = "ID", group = "which")]
    session: Option<SessionId>,
    /// The jobs of this user.
    #[arg(long, value_name = "NAME", group = "which")]
    user: Option<String>,
    /// The jobs in this state: `queued`, `admitted`, `starting` or `running`.
    #[arg(long, value_name = "STATE", group = "which", value_parser = unfinished)]
    state: Option<StateName>,
    /// Do not ask before several jobs are cancelled.
    #[arg(long, short)]
    yes: bool,
}

/// What became of a request to end a job.
enum Asked {
    Ends,
    HadEnded,
    Failed(Failure),
}

/// Ends jobs.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    if let [job] = &args.jobs[..] {
        return one(client, job.find(client).await?).await;
    }
    let mut jobs = Vec::new();
    for job in &args.jobs {
        jobs.push(job.find(client).await?);
    }
    if args.jobs.is_empty() {
        jobs = matching(client, args).await?;
        if jobs.len() > 1 && !args.yes && !confirms(jobs.len()) {
            out::line("nothing is cancelled");
            return Ok(ExitCode::FAILURE);
        }
    }
    let asked: Vec<Asked> =
        stream::iter(jobs).map(|job| ask(client, job)).buffered(AT_A_TIME).collect().await;
    let count = |is: fn(&Asked) -> bool| asked.iter().filter(|asked| is(asked)).count();
    let (ended, failed) =
        (count(|asked| matches!(asked, Asked::HadEnded)), count(|asked| matches!(asked, Asked::Failed(_))));
    let cancelled = jobs_are_cancelled(asked.len() - ended - failed);
    match ended {
        0 => out::line(cancelled),
        _ => out::line(format_args!("{cancelled}; {ended} had ended already")),
    }
    let first = asked.into_iter().find_map(|asked| match asked {
        Asked::Failed(failure) => Some(failure),
        Asked::Ends | Asked::HadEnded => None,
    });
    match first {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(Failure::with(first.code, format!("{failed} could not be cancelled: {first}"))),
    }
}

async fn one(client: &Client, id: JobId) -> Outcome {
    let Some(job) = client.cancel(id).await? else {
        return Err(Failure::new(format!("there is no job {id}; `mgx ps` lists them")));
    };
    out::line(format!(
        "job {id} is {}; its end comes as an event of session {}",
        harmless(&job.state.to_string()),
        job.session_id
    ));
    Ok(ExitCode::SUCCESS)
}

async fn ask(client: &Client, job: JobId) -> Asked {
    match client.cancel(job).await {
        Ok(Some(_)) => Asked::Ends,
        // it has ended, or its session was deleted meanwhile
        Ok(None) => Asked::HadEnded,
        Err(Error::Refused(problem)) if problem.status == 409 => Asked::HadEnded,
        Err(error) => Asked::Failed(error.into()),
    }
}

/// The jobs that the options describe: first those that wait, the newest first, so that the end of a job that runs lets none
/// of them begin.
async fn matching(client: &Client, args: &Args) -> Result<Vec<JobId>, Failure> {
    let session = match &args.session {
        Some(session) => Some(ids::session_id(client, session).await?),
        None => None,
    };
    let mut query = JobQuery { session, state: args.state, limit: Some(200), ..JobQuery::default() };
    let mut found: Vec<Job> = Vec::new();
    loop {
        let page = client.jobs(&query).await?;
        query.cursor = page.next;
        let is_meant =
            |job: &Job| !job.has_ended() && args.user.as_ref().is_none_or(|user| *user == job.user);
        found.extend(page.jobs.into_iter().filter(is_meant));
        if query.cursor.is_none() {
            break;
        }
    }
    found.sort_by_key(|job| job.state.known() != Some(StateName::Queued));
    Ok(found.iter().map(|job| job.job_id).collect())
}

/// Asks the user, if there is one.
fn confirms(count: usize) -> bool {
    if !(out::is_terminal() && std::io::stdin().is_terminal()) {
        return true;
    }
    out::note(format_args!("Cancel {count} jobs? (y, or Enter for no)"));
    let answer = std::io::stdin().lock().lines().next().and_then(Result::ok).unwrap_or_default();
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

fn jobs_are_cancelled(count: usize) -> String {
    match count {
        0 => "no job is cancelled".to_owned(),
        1 => "1 job is cancelled".to_owned(),
        _ => format!("{count} jobs are cancelled"),
    }
}

/// A state in which a job can be cancelled.
fn unfinished(text: &str) -> Result<StateName, String> {
    match text.parse::<StateName>() {
        Ok(state) if !state.is_final() => Ok(state),
        Ok(state) => Err(format!("a job that is {state} has ended")),
        Err(_) => Err("a state is queued, admitted, starting, running or stopping".to_owned()),
    }
}
