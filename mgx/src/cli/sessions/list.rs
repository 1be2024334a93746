//! `mgx session list`: the sessions, newest first.

use std::process::ExitCode;

use mgx_client::{Client, Session};

use crate::cli::out::table::{Column, Form};
use crate::cli::out::{self, Outcome};

/// Which sessions to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// List only sessions with a job that waits or runs.
    #[arg(long)]
    running: bool,
    /// List only the sessions of this user (for administrators).
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// List at most N sessions, the newest first.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    #[command(flatten)]
    form: Form,
}

/// The columns of sessions.
const COLUMNS: [Column<Session>; 9] = [
    Column::new("SESSION", |session, look| look.id(session.session_id.as_str())),
    Column::new("NAME", |session, _| out::short(&session.name, 40)),
    Column::new("FRAMEWORK", |session, _| session.framework.clone()),
    Column::new("USER", |session, _| session.user.clone()),
    Column::new("STATE", |session, _| if session.is_running { "at work" } else { "idle" }.to_owned()),
    Column::new("MADE", |session, look| look.time(session.created_at)),
    Column::further("WORKSPACE", |session, _| session.workspace_id.clone()),
    Column::further("REQUESTS", |session, _| session.usage.requests.to_string()),
    Column::further("TOKENS", |session, _| {
        session.usage.prompt_tokens.saturating_add(session.usage.completion_tokens).to_string()
    }),
];

/// Lists sessions.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.sessions(cursor.as_deref()).await?;
        let is_meant = |session: &Session| {
            (session.is_running || !args.running)
                && args.user.as_ref().is_none_or(|user| *user == session.user)
        };
        rows.extend(page.sessions.into_iter().filter(is_meant));
        cursor = page.next;
        if cursor.is_none() || rows.len() >= args.limit.into() {
            break;
        }
    }
    rows.truncate(args.limit.into());
    args.form.show(&rows, |session| session.session_id.to_string(), &COLUMNS);
    if rows.is_empty() && args.form.is_table() {
        out::note("there is no such session; `mgx run` makes one");
    }
    Ok(ExitCode::SUCCESS)
}
