//! The demo model: a scripted, openly labelled stand-in for a provider, which drives the team through its tools.
//!
//! A pure function of the request: the role comes from a header, what was done before from the messages. Each role
//! is a script that reads top to bottom (`roles.rs`); what it builds is a [`page::Page`].

mod chunks;
mod content;
mod conversation;
mod page;
mod prompt;
mod roles;
mod site;
mod tone;
mod topics;

use std::time::Duration;

use http::HeaderValue;
use mgx_protocol::JobId;

use crate::LlmError;
use crate::answer::ModelAnswer;
use crate::caller::Caller;
use crate::request::ChatRequest;
use conversation::{Call, Conversation};

/// How every text of the demo model begins.
const LABEL: &str = "[demo model]";

/// What the demo model says: a text, or the next tool call.
#[derive(Clone, Debug, PartialEq)]
enum Reply {
    Text(String),
    Call { before: String, id: String, call: Call },
}

/// Answers a request, with a pause of `pace` between the chunks of a stream.
pub(crate) fn answer(
    request: &ChatRequest,
    caller: &Caller,
    pace: Duration,
) -> Result<ModelAnswer, LlmError> {
    let talk = Conversation::read(request)?;
    let reply = reply(&talk, caller.agent.as_deref().unwrap_or_default(), caller.job);
    let usage = chunks::Usage { prompt: request.estimated_tokens(), completion: reply.tokens() };
    let (content_type, bytes) = if request.is_stream() {
        ("text/event-stream", chunks::stream(reply, usage, pace))
    } else {
        ("application/json", chunks::whole(reply, usage))
    };
    Ok(ModelAnswer { content_type: HeaderValue::from_static(content_type), bytes })
}

/// The next thing that the member of the team called `role` does.
fn reply(talk: &Conversation, role: &str, job: JobId) -> Reply {
    match roles::play(role, talk) {
        Ok(text) => Reply::Text(text),
        Err(call) => Reply::Call {
            before: call.intent.clone(),
            // Unique in the session: a call and its result are paired by it.
            id: format!("call_{}_{role}_{}", &job.0.simple().to_string()[20..], talk.steps.len() + 1),
            call,
        },
    }
}

impl Reply {
    /// Tokens by the rule of thumb that stands in for a tokeniser.
    fn tokens(&self) -> u64 {
        let chars = match self {
            Self::Text(text) => text.chars().count(),
            Self::Call { before, call, .. } => {
                before.chars().count() + call.arguments().to_string().chars().count()
            }
        };
        chars.div_ceil(4) as u64
    }
}

#[cfg(test)]
mod tests;
