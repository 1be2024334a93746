//! The demo model: scripted answers in place of a provider's, labelled as such, which drive the team through its tools.
//!
//! An answer is a pure function of the request: the role comes from a header, what was done before from the messages.
//! Each role is a script (`roles.rs`); the team builds a page (`page.rs`).

mod colours;
mod content;
mod conversation;
mod framework;
mod page;
mod prompt;
mod reply;
mod roles;
mod topics;

use std::time::Duration;

use http::HeaderValue;
use mgx_protocol::JobId;

use crate::LlmError;
use crate::caller::Caller;
use crate::model::answer::ModelAnswer;
use crate::model::request::ChatRequest;
use conversation::Conversation;
use reply::{Reply, Usage};

/// Answers a request, with a pause of `pace` between the chunks of a stream.
pub(crate) fn answer(
    request: &ChatRequest,
    caller: &Caller,
    pace: Duration,
) -> Result<ModelAnswer, LlmError> {
    let conversation = Conversation::read(request)?;
    let reply = reply(&conversation, caller.agent.as_deref().unwrap_or_default(), caller.job);
    let usage = Usage { prompt: request.estimated_tokens(), completion: reply.estimated_tokens() };
    let (content_type, bytes) = if request.is_stream() {
        ("text/event-stream", reply.into_stream(usage, pace))
    } else {
        ("application/json", reply.into_json(usage))
    };
    Ok(ModelAnswer { content_type: HeaderValue::from_static(content_type), bytes })
}

/// The next reply of the team's member `role`.
fn reply(conversation: &Conversation, role: &str, job: JobId) -> Reply {
    match roles::next_step(role, conversation) {
        Ok(text) => Reply::Text(text),
        Err(call) => Reply::Call {
            before: call.intent.clone(),
            // unique in the session, because results refer to their calls by it
            id: format!("call_{}_{role}_{}", &job.0.simple().to_string()[20..], conversation.steps.len() + 1),
            call,
        },
    }
}

#[cfg(test)]
mod tests;
