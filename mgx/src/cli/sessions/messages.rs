//! `mgx messages`: the conversation of a session.

use std::process::ExitCode;

use mgx_client::Client;
use mgx_client::messages::Message;
use mgx_protocol::{MessageRole, SessionId};

use crate::cli::ids;
use crate::cli::out::text::Line;
use crate::cli::out::{self, Failure, Outcome, harmless};

/// Whose conversation to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session; `mgx session list` lists them.
    session: SessionId,
    /// Show what roles said to their tools and what these answered, too.
    #[arg(long)]
    all: bool,
    /// Print every message as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the conversation, oldest message first.
pub(crate) async fn run(client: &Client, args: &Args) -> Outcome {
    let session = ids::session_id(client, &args.session).await?;
    let mut after = 0;
    loop {
        let Some(page) = client.messages(&session, after).await? else {
            return Err(Failure::new(format!("there is no session {session}")));
        };
        for message in page.messages.iter().filter(|message| args.all || is_said_to_the_user(message)) {
            if args.json {
                out::json(message);
            } else {
                print(message);
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Prints a message: on a terminal wrapped and with its speaker in colour, and as it is everywhere else.
fn print(message: &Message) {
    let (name, text) = shown(message);
    let (name, text) = (harmless(&name), harmless(&text));
    if out::columns().is_none() {
        return out::line(format_args!("{name}: {text}"));
    }
    let mut lines = text.lines();
    out::line(out::rows(&Line::said("", &name, lines.next().unwrap_or_default())));
    for line in lines {
        out::line(out::rows(&Line::new(" ", line)));
    }
}

/// Whether a message is the user's, the last one of a role, or a question.
fn is_said_to_the_user(message: &Message) -> bool {
    let says = |key: &str| message.metadata.get(key).is_some_and(|value| value == true);
    match message.role {
        MessageRole::User => message.agent_name.is_none(),
        MessageRole::Assistant => says("final") && message.agent_name.as_deref() != Some("router"),
        MessageRole::Tool => says("question"),
        MessageRole::System => false,
    }
}

/// Who speaks, and what.
fn shown(message: &Message) -> (String, String) {
    let name = match (message.role, &message.agent_name) {
        (MessageRole::User, None) => "user".to_owned(),
        (MessageRole::Tool, Some(agent)) => format!("{agent}'s tool"),
        (MessageRole::User | MessageRole::Assistant | MessageRole::System, Some(agent)) => agent.clone(),
        (MessageRole::Assistant | MessageRole::System | MessageRole::Tool, None) => "agent".to_owned(),
    };
    let calls = message.tool_calls.iter().map(|call| format!("\n  → {}", call.name));
    (name, format!("{}{}", message.content.trim(), calls.collect::<String>()))
}
