//! The conversation of a session: what the team of its next job is told of it. Pure.

use mgx_protocol::{Conversation, EventKind, JobId, Message, MessageRole};
use mgx_scheduler::{Event, Job};
use serde_json::{Value, json};

/// How many bytes of messages, as JSON, a job is given; the frame with the invocation holds a megabyte, of which the prompt,
/// the environment and the team take the rest.
const MAX_BYTES: usize = 640 * 1024;

/// How much of it earlier jobs may have.
const MAX_EARLIER_BYTES: usize = 192 * 1024;

/// How much of a summary is told, in bytes.
const MAX_SUMMARY_BYTES: usize = 32 * 1024;

/// The longest text in a message of a job that goes on, in bytes, once its messages do not fit: tools can be used again.
const MAX_BEGUN_TEXT_BYTES: usize = 2 * 1024;

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

/// Gathers what a job is told, from the newest message backwards.
#[derive(Debug)]
pub(crate) struct Recall<'a> {
    job: &'a Job,
    newest_first: Vec<Message>,
    earlier_bytes: usize,
    /// The newest summary, and the first job that it does not cover.
    summary: Option<(String, JobId)>,
    has_reached_summary: bool,
}

impl<'a> Recall<'a> {
    pub(crate) fn of(job: &'a Job) -> Self {
        Self { job, newest_first: Vec::new(), earlier_bytes: 0, summary: None, has_reached_summary: false }
    }

    /// Adds the next older message; whether older ones are needed too.
    pub(crate) fn add(&mut self, message: Message) -> bool {
        let is_own = self.is_own(message.job);
        let next = self.summary.as_ref().map(|(_, next)| *next);
        // a summary covers the jobs before its own, or before the one that it names
        self.has_reached_summary |= next.is_some_and(|next| message.job < next);
        if message.role == MessageRole::System && self.summary.is_none() {
            let next = message.metadata.get("next_job").and_then(Value::as_str);
            let next = next.and_then(|next| next.parse().ok()).unwrap_or(message.job);
            let end = message.content.floor_char_boundary(MAX_SUMMARY_BYTES);
            self.summary = Some((message.content[..end].to_owned(), next));
        } else if is_own {
            self.newest_first.push(message);
        } else if is_told(&message) && !self.has_reached_summary {
            self.earlier_bytes += bytes(&message);
            if self.earlier_bytes <= MAX_EARLIER_BYTES {
                self.newest_first.push(message);
            }
        }
        let has_enough = self.has_reached_summary || self.earlier_bytes > MAX_EARLIER_BYTES;
        is_own || !has_enough || self.job.spec.continues.iter().any(|id| *id < self.oldest())
    }

    fn is_own(&self, id: JobId) -> bool {
        id == self.job.id || self.job.spec.continues.contains(&id)
    }

    fn oldest(&self) -> JobId {
        self.newest_first.last().map_or(self.job.id, |message| message.job)
    }

    /// The conversation.
    pub(crate) fn conversation(self) -> Conversation {
        let is_own: Vec<_> = self.newest_first.iter().map(|message| self.is_own(message.job)).collect();
        let (mut earlier, mut begun) = (Vec::new(), Vec::new());
        for (message, is_own) in self.newest_first.into_iter().zip(is_own).rev() {
            if is_own { begun.push(message) } else { earlier.push(message) }
        }
        // a job that has only its prompt begins anew
        if !begun.iter().any(|message| message.agent.is_some()) {
            begun.clear();
        }
        let size = |messages: &[Message]| messages.iter().map(bytes).sum::<usize>();
        if size(&begun) + size(&earlier) > MAX_BYTES {
            begun.iter_mut().for_each(shorten);
        }
        while size(&begun) + size(&earlier) > MAX_BYTES && !earlier.is_empty() {
            earlier.remove(0);
        }
        Conversation { summary: self.summary.map(|(text, _)| text), earlier, begun }
    }
}

fn bytes(message: &Message) -> usize {
    serde_json::to_vec(message).map_or(0, |json| json.len())
}

/// Shortens what a tool answered, and what was written in calls: the files hold it.
fn shorten(message: &mut Message) {
    let cut = |text: &mut String| {
        if text.len() > MAX_BEGUN_TEXT_BYTES {
            text.truncate(text.floor_char_boundary(MAX_BEGUN_TEXT_BYTES));
            text.push_str("… (the rest is left out)");
        }
    };
    if message.role == MessageRole::Tool {
        cut(&mut message.content);
    }
    for call in &mut message.tool_calls {
        for value in call.args.as_object_mut().into_iter().flat_map(|args| args.values_mut()) {
            if let Value::String(text) = value {
                cut(text);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn said(
        job: u128,
        role: &str,
        agent: Option<&str>,
        content: &str,
        metadata: impl Into<Value>,
    ) -> Message {
        let metadata: Value = metadata.into();
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
        let mut recall = Recall::of(&of);
        for message in messages.into_iter().rev() {
            if !recall.add(message) {
                break;
            }
        }
        recall.conversation()
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
    fn only_the_newest_messages_fit_and_tool_traffic_does_not_count() {
        let mut messages = Vec::new();
        for n in 0..10 {
            messages.push(said(1, "user", None, &format!("{n}{}", "x".repeat(50_000)), json!({})));
            messages.push(said(1, "tool", Some("engineer"), &"y".repeat(60_000), json!({ "success": true })));
        }
        let told = told(2, &[], messages);
        let first: Vec<_> = told.earlier.iter().map(|message| &message.content[..1]).collect();
        assert_eq!(first, ["7", "8", "9"]);
    }

    #[test]
    fn the_messages_of_a_job_that_goes_on_are_all_there_and_fit_into_a_frame() {
        let mut messages = vec![said(2, "user", None, "a page", json!({}))];
        messages.push(said(2, "assistant", Some("router"), "{}", json!({ "final": true })));
        for _ in 0..40 {
            messages.push(said(2, "tool", Some("engineer"), &"y".repeat(40_000), json!({ "success": true })));
        }
        let told = told(2, &[], messages);
        assert_eq!(told.begun.len(), 42);
        assert_eq!(told.begun[1].content, "{}", "the router's choice above all");
        assert!(serde_json::to_vec(&told).unwrap().len() < MAX_BYTES);
    }
}
