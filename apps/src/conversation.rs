//! The conversation of a session: what the team of its next job is told of it. Pure.

use mgx_protocol::{Conversation, EventKind, JobId, Message, MessageRole};
use mgx_scheduler::{Event, Job};
use serde_json::{Value, json};

/// How many bytes of earlier messages a job is given; the frame with the invocation holds a megabyte.
pub(crate) const MAX_EARLIER_BYTES: usize = 256 * 1024;

/// How many bytes of its own earlier messages a job is given that goes on.
pub(crate) const MAX_BEGUN_BYTES: usize = 640 * 1024;

/// The message of an event; `None` if the event is none.
pub fn message_of(event: &Event) -> Option<Message> {
    if event.kind != EventKind::MessageComplete {
        return None;
    }
    let mut message = json!({ "job": event.job, "at": event.at, "agent": event.agent, "role": "assistant" });
    for key in ["role", "content", "tool_calls", "tool_call_id", "metadata"] {
        if let Some(value) = event.data.get(key) {
            message[key] = value.clone();
        }
    }
    // what an agent reports is not trusted: a message without a text is none
    serde_json::from_value(message).ok()
}

/// What `job` is told of `messages`, the newest messages of its session, oldest first.
pub(crate) fn conversation(job: &Job, messages: Vec<Message>) -> Conversation {
    let is_own = |id: JobId| id == job.id || job.spec.continues.contains(&id);
    let summary = messages.iter().rposition(|message| message.role == MessageRole::System);
    let begin = summary.map_or(0, |at| {
        let next = messages[at].metadata.get("next_job").filter(|next| !next.is_null());
        let next = next.cloned().unwrap_or_else(|| Value::from(messages[at].job.to_string()));
        messages.iter().position(|message| next == message.job.to_string()).unwrap_or(at)
    });
    let summary = summary.map(|at| messages[at].content.clone());
    let (mut earlier, mut begun) = (Vec::new(), Vec::new());
    for (at, message) in messages.into_iter().enumerate() {
        if is_own(message.job) {
            begun.push(message);
        } else if at >= begin && is_told(&message) {
            earlier.push(message);
        }
    }
    // a job that has only its prompt begins anew
    if !begun.iter().any(|message| message.agent.is_some()) {
        begun.clear();
    }
    Conversation {
        summary,
        earlier: newest(earlier, MAX_EARLIER_BYTES),
        begun: newest(begun, MAX_BEGUN_BYTES),
    }
}

/// Whether later jobs are told of a message: the user's words, and what the roles said at their ends.
fn is_told(message: &Message) -> bool {
    let says = |key: &str| message.metadata.get(key) == Some(&Value::Bool(true));
    match message.role {
        MessageRole::User => message.agent.is_none(),
        MessageRole::Assistant => says("final"),
        MessageRole::Tool => says("question"),
        MessageRole::System => false,
    }
}

/// The newest messages that have at most so many bytes together.
fn newest(mut messages: Vec<Message>, max_bytes: usize) -> Vec<Message> {
    let mut bytes = 0;
    let keep = messages.iter().rev().take_while(|message| {
        bytes += serde_json::to_vec(message).map_or(0, |json| json.len());
        bytes <= max_bytes
    });
    let keep = keep.count();
    messages.split_off(messages.len() - keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn said(job: u128, role: &str, agent: Option<&str>, content: &str, metadata: Value) -> Message {
        serde_json::from_value(json!({
            "job": Uuid::from_u128(job), "at": "2026-01-01T00:00:00Z", "role": role, "agent": agent, "content": content,
            "metadata": metadata,
        }))
        .unwrap()
    }

    fn contents(messages: &[Message]) -> Vec<&str> {
        messages.iter().map(|message| message.content.as_str()).collect()
    }

    fn told(job: u128, continues: &[u128], messages: Vec<Message>) -> Conversation {
        let mut of = crate::jobs::blueprint::testing::job();
        of.id = JobId(Uuid::from_u128(job));
        of.spec.continues = continues.iter().map(|id| JobId(Uuid::from_u128(*id))).collect();
        conversation(&of, messages)
    }

    fn two_jobs() -> Vec<Message> {
        vec![
            said(1, "user", None, "a page", json!({})),
            said(1, "assistant", Some("engineer"), "I write", json!({})),
            said(1, "tool", Some("engineer"), "wrote", json!({ "success": true })),
            said(1, "user", Some("engineer"), "go on", json!({ "from": "team" })),
            said(1, "assistant", Some("engineer"), "done", json!({ "final": true })),
            said(2, "user", None, "make it blue", json!({})),
        ]
    }

    #[test]
    fn the_next_job_is_told_what_was_asked_and_done() {
        let told = told(2, &[], two_jobs());
        assert_eq!(contents(&told.earlier), ["a page", "done"]);
        assert_eq!((told.begun.len(), told.summary), (0, None));
    }

    #[test]
    fn a_job_goes_on_from_its_own_messages_and_those_of_the_job_that_it_continues() {
        let mut messages = two_jobs();
        messages.push(said(2, "assistant", Some("router"), "{}", json!({ "final": true })));
        assert_eq!(contents(&told(2, &[], messages.clone()).begun), ["make it blue", "{}"]);
        let continued = told(3, &[2], messages);
        assert_eq!(contents(&continued.begun), ["make it blue", "{}"]);
        assert_eq!(contents(&continued.earlier), ["a page", "done"]);
    }

    #[test]
    fn what_a_summary_covers_is_left_out() {
        let mut messages = two_jobs();
        let next = json!({ "next_job": Uuid::from_u128(2) });
        messages.push(said(3, "user", None, "and green", json!({})));
        messages.push(said(3, "system", Some("summary"), "They want a page.", next));
        let told = told(4, &[], messages);
        assert_eq!(told.summary.as_deref(), Some("They want a page."));
        assert_eq!(contents(&told.earlier), ["make it blue", "and green"]);
    }

    #[test]
    fn only_the_newest_messages_fit() {
        let messages = (0..10)
            .map(|n| said(1, "user", None, &format!("{n}{}", "x".repeat(60_000)), json!({})))
            .collect();
        let told = told(2, &[], messages);
        let first: Vec<_> = told.earlier.iter().map(|message| &message.content[..1]).collect();
        assert_eq!(first, ["6", "7", "8", "9"]);
    }
}
