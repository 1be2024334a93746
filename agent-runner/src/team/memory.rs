//! What a role is told of the conversation before its own work begins: the session so far, the files, its colleagues, and
//! the request; and the summary of a conversation that has become long.
//!
//! All of it is one user message after the system prompt, because some models' chat templates take no other order. What
//! changes least stands first, so that a provider's cache of prompts serves the next request too.

use std::fmt::Write;

use mgx_protocol::{Conversation, EventKind, Message, MessageRole, Role};
use serde_json::{Value, json};

use super::begun::is_final;
use super::context::without_middle;
use super::files::workspace::Workspace;
use super::model::error::LlmError;
use super::model::retry::Retries;
use super::report::deltas::Deltas;
use super::report::reporter::cut;
use super::team_context::{RoleOutput, TeamContext, request};

/// How much of an earlier role's final message the next ones are told, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// How much of one earlier message is told, in bytes.
const MAX_EARLIER_BYTES: usize = 4 * 1024;

/// How many files are listed.
const MAX_FILES: usize = 200;

/// The share of the context that the conversation before this job may use before it is summarised, in percent …
const LONG_PERCENT: u64 = 25;

/// … and the share that its newest messages may keep.
const KEPT_PERCENT: u64 = 10;

/// How much of the user's own words a summary keeps, in bytes: of one request, and of all.
const MAX_WORDS_BYTES: [usize; 2] = [600, 8 * 1024];

/// The heading of the user's own words in a summary.
const WORDS: &str = "## What the user asked for, in their words";

/// The files of the workspace when the job begins, and which of them the user has changed since the newest message.
pub(crate) fn files(workspace: &Workspace, conversation: &Conversation) -> String {
    // a job that goes on has changed files itself
    let since =
        conversation.earlier.last().filter(|_| conversation.begun.is_empty()).map(|message| message.at);
    workspace.files(MAX_FILES, since)
}

/// The first messages of `role`: its instructions, and all that it has to know with the request.
pub(crate) fn opening(context: &TeamContext, role: &Role, earlier: &[RoleOutput]) -> Vec<Value> {
    let conversation = &context.conversation;
    let mut task = String::new();
    let has_past = !conversation.earlier.is_empty() || conversation.summary.is_some();
    if has_past {
        task.push_str("# The conversation so far\n");
        if let Some(summary) = &conversation.summary {
            writeln!(task, "{summary}\n").ok();
        }
        for message in &conversation.earlier {
            if let Some(line) = told(message) {
                writeln!(task, "{line}\n").ok();
            }
        }
    }
    if !context.files.is_empty() {
        writeln!(task, "# The files of the workspace\n{}", context.files).ok();
    }
    if task.is_empty() {
        task.clone_from(&context.prompt);
    } else {
        write!(task, "# The request\n{}", context.prompt).ok();
    }
    for RoleOutput { role, message, .. } in earlier.iter().filter(|output| !output.message.trim().is_empty())
    {
        write!(task, "\n\n--- from the {role} ---\n{}", cut(message, MAX_MESSAGE_BYTES)).ok();
    }
    let mut system = role.prompt.clone();
    if !context.framework.is_empty() {
        write!(system, "\n\nThe app's framework is {}.", context.framework).ok();
    }
    vec![json!({ "role": "system", "content": system }), json!({ "role": "user", "content": task })]
}

/// An earlier message as a line of the conversation; `None` for what was only said within the team.
fn told(message: &Message) -> Option<String> {
    let text = cut(message.content.trim(), MAX_EARLIER_BYTES);
    if text.is_empty() {
        return None;
    }
    match (message.role, &message.agent) {
        (MessageRole::User, None) => Some(format!("user: {text}")),
        (MessageRole::Assistant, Some(agent)) if is_final(message) && agent != super::ROUTER => {
            Some(format!("{agent}: {text}"))
        }
        // a question that the user's next message answers
        (MessageRole::Tool, Some(agent)) if message.metadata.get("question").is_some() => {
            Some(format!("{agent} asked: {text}"))
        }
        (MessageRole::User | MessageRole::Assistant | MessageRole::System | MessageRole::Tool, _) => None,
    }
}

/// Replaces the older messages of a long conversation by a summary that `role`'s model writes, and stores the summary as
/// a message, so that later jobs start from it.
///
/// # Errors
/// The model's provider is away. Any other failure leaves the conversation as it is, except for its oldest messages.
pub(crate) async fn summarise_if_long(context: &mut TeamContext, role: &Role) -> Result<(), LlmError> {
    let window = *context.contexts.of(&role.model);
    let size = |message: &Message| told(message).map_or(0, |line| line.len());
    let total: usize = context.conversation.earlier.iter().map(size).sum();
    let summary = context.conversation.summary.clone().unwrap_or_default();
    if window.tokens(total + summary.len()) * 100 <= window.usable() * LONG_PERCENT {
        return Ok(());
    }
    // whole jobs are summarised, so that the summary says with which job the rest begins
    let mut kept = 0;
    let mut begin = context.conversation.earlier.len();
    for (at, message) in context.conversation.earlier.iter().enumerate().rev() {
        kept += size(message);
        if window.tokens(kept) * 100 > window.usable() * KEPT_PERCENT {
            break;
        }
        let is_first_of_job = at == 0 || context.conversation.earlier[at - 1].job != message.job;
        if is_first_of_job {
            begin = at;
        }
    }
    let rest = context.conversation.earlier.split_off(begin);
    let old = std::mem::replace(&mut context.conversation.earlier, rest);
    let words = words(&summary, &old);
    let lines: Vec<_> = old.iter().filter_map(told).collect();
    let before = window.tokens(total + summary.len());
    let told =
        without_middle(&format!("{summary}\n\n{}", lines.join("\n\n")), window.bytes(window.usable() / 2));
    let messages = [
        json!({ "role": "system", "content": "You summarise the conversation between a user and a team that builds web \
            apps, for the team's next work. Keep every requirement, name, number, colour, decision and open question. Leave \
            out how the work was done. At most 400 words, in the language of the conversation." }),
        json!({ "role": "user", "content": format!("Summarise this conversation:\n\n{told}") }),
    ];
    let request = request(role, &messages, &[]);
    let retries = Retries::new(context.retry);
    let mut deltas = Deltas::hidden(&mut context.report, &role.name);
    let text = match context.client.turn(&role.name, &request, retries, &mut context.ids, &mut deltas).await {
        Ok(reply) if !reply.content.trim().is_empty() => reply.content,
        Err(error @ LlmError::Away { .. }) => return Err(error),
        // the older summary and the user's own words are kept without the model
        Ok(_) | Err(_) => summary.split_once(WORDS).map_or(&*summary, |(prose, _)| prose).to_owned(),
    };
    let summary = format!("{}\n\n{WORDS}\n{words}", text.trim());
    let next = context.conversation.earlier.first().map(|message| json!(message.job));
    let data = json!({
        "role": "system",
        "content": summary,
        "metadata": { "summary_of": old.len(), "next_job": next },
    });
    context.report.event(&EventKind::MessageComplete, super::SUMMARY, data).await?;
    let after = window.tokens(summary.len() + context.conversation.earlier.iter().map(size).sum::<usize>());
    let shortened = json!({ "before_tokens": before, "after_tokens": after, "how": ["summary"] });
    context.report.event(&EventKind::ContextShortened, super::SUMMARY, shortened).await?;
    context.conversation.summary = Some(summary);
    Ok(())
}

/// The user's own words in an older summary and in `messages`, the first and the newest of them if they are many.
fn words(summary: &str, messages: &[Message]) -> String {
    let before = summary.split_once(WORDS).map_or("", |(_, words)| words.trim());
    let mut lines: Vec<String> =
        before.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    for message in messages.iter().filter(|it| it.role == MessageRole::User && it.agent.is_none()) {
        let line = message.content.split_whitespace().collect::<Vec<_>>().join(" ");
        lines.push(format!("- {}", cut(&line, MAX_WORDS_BYTES[0])));
    }
    while lines.iter().map(String::len).sum::<usize>() > MAX_WORDS_BYTES[1] && lines.len() > 2 {
        // the first requests say what the app is, the newest what it has become
        lines.remove(lines.len() / 2);
    }
    lines.join("\n")
}
