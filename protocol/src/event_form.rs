//! What the data of each kind of event has in it: the fields, their types, and what they mean.

use serde_json::{Map, Value};

use crate::event_kind::EventKind;

/// The form of the events of one kind.
#[derive(Clone, Copy, Debug)]
pub struct EventForm {
    /// What such an event tells, as a sentence without its full stop.
    pub meaning: &'static str,
    /// The fields of its data.
    pub fields: &'static [EventField],
}

/// One field of the data of an event.
#[derive(Clone, Copy, Debug)]
pub struct EventField {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub value: FieldType,
    /// Whether every event of the kind has it.
    pub is_required: bool,
    /// What it means.
    pub meaning: &'static str,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A string.
    Text,
    /// A string with a time (RFC 3339).
    Time,
    /// A number that is not negative.
    Count,
    /// A number, perhaps with a fraction.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// An object.
    Object,
    /// Any JSON.
    Any,
}

impl FieldType {
    /// Whether a value is of this type.
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Time => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            Self::Count => value.is_u64(),
            Self::Number => value.is_number(),
            Self::Flag => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::Any => true,
        }
    }

    /// Its name in the documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Time => "time",
            Self::Count => "count",
            Self::Number => "number",
            Self::Flag => "true or false",
            Self::List => "list",
            Self::Object => "object",
            Self::Any => "any",
        }
    }
}

/// Fields that take the place of all others when the data would be larger than an event may be.
pub const INSTEAD: [&str; 2] = ["truncated", "truncated_bytes"];

/// The form of the events of a kind; `None` for a kind that an agent has made up.
#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "one row for each kind")]
pub fn form_of(kind: &EventKind) -> Option<EventForm> {
    use crate::state_name::StateName as S;
    use EventKind as K;
    use FieldType::{Any, Count, Flag, List, Number, Object, Text, Time};
    /// Declares the form: `name: Type, "what it is"`; a name with `?` may be absent.
    macro_rules! form {
        ($meaning:literal $(, $name:ident $($optional:literal)? : $value:ident, $what:literal)* $(,)?) => {
            EventForm {
                meaning: $meaning,
                fields: &[$(EventField {
                    name: stringify!($name), value: $value, is_required: form!(@required $($optional)?), meaning: $what,
                }),*],
            }
        };
        (@required) => { true };
        (@required $optional:literal) => { false };
    }
    Some(match kind {
        K::Job(S::Queued) => form!("the job waits in the queue: at first, and before each further attempt",
            kind "?": Text, "at first: `agent`, `dev` or `build`",
            priority "?": Count, "at first: its priority",
            ahead "?": Count, "at first: how many jobs stand before it",
            group "?": Text, "the key of its group",
            start_at "?": Time, "when it may start, if that was asked for",
            reason "?": Text, "before a further attempt: why the last one ended",
            try "?": Count, "how many tries have failed, if tries are counted",
            tries "?": Count, "how many tries there are, if tries are counted",
            pause_ms "?": Count, "how long it waits before it joins the queue",
            error "?": Text, "what the model's provider said, if the job waits for it",
            since "?": Time, "since when the provider is away",
            until "?": Time, "when the job gives up waiting for it"),
        K::Job(S::Admitted) => form!("the job has a slot; why it was its turn",
            waited_ms "?": Count, "how long it has waited",
            priority "?": Count, "its priority with what it has gained by waiting",
            running "?": Count, "how many jobs ran",
            max_running "?": Count, "how many may run",
            user_running "?": Count, "how many of them were its user's",
            user_turn "?": Object, "`time`, the virtual time of its user, and `weight`",
            passed_over "?": Object, "jobs before it that could not run: how many for each limit"),
        K::Job(S::Starting) => form!("its container is being made"),
        K::Job(S::Running) => form!("its command runs",
            deadline_at "?": Time, "when its run time is over"),
        K::Job(S::Stopping) => form!("it is being stopped",
            reason: Text, "`user_request`, `run_timeout`, or why it failed"),
        K::Job(S::Succeeded | S::Failed | S::Cancelled | S::TimedOut | S::Expired) =>
            form!("reserved: the end of a job is told by `finish`, with this `state`",
                reason "?": Text, "why, unless it succeeded"),
        K::JobReattached => form!("the platform was restarted, and has taken up the running job"),
        K::Finish => form!("the job has ended: the last event of every job, exactly once",
            status: Text, "`success`, `error`, `stopped`, `timeout` or `expired`",
            state: Text, "`succeeded`, `failed`, `cancelled`, `timed_out` or `expired`",
            reason "?": Text, "why, unless it succeeded: `finish_error`, `nonzero_exit`, `run_timeout`, …",
            error "?": Text, "what went wrong, for people",
            exit "?": Object, "how the command ended: `code`, `signal`, `oom_kills`",
            elapsed_seconds "?": Number, "how long the last attempt ran"),
        K::Truncated => form!("the log leaves out what comes after it, beyond the limits of `[history]`",
            limit: Text, "the key of the limit",
            max: Count, "its value",
            from "?": Count, "the number, within the attempt, of the first event that is left out",
            left_out: Text, "`pieces` or `everything`"),
        K::LlmUsage => form!("what a reply of a model cost",
            model: Text, "the model",
            prompt_tokens: Count, "tokens of the request",
            completion_tokens: Count, "tokens of the reply",
            cached_tokens "?": Count, "tokens of the request that the provider had cached",
            cost_micros "?": Count, "its cost in millionths, if the model has a price",
            total_requests: Count, "requests of the session so far",
            total_tokens: Count, "tokens of the session so far",
            total_cost_micros "?": Count, "cost of the session so far",
            budget "?": List, "each budget that is set, and what is used of it",
            warning "?": Text, "that a budget is nearly used up",
            estimated "?": Flag, "the provider did not say how many tokens it were",
            agent "?": Text, "the role that asked"),
        K::LlmRefused => form!("reserved"),
        K::AgentStart => form!("a role begins",
            prompt: Text, "what it is to do",
            framework "?": Text, "the framework of the app",
            model "?": Text, "the model that it asks"),
        K::AgentEnd => form!("a role has ended",
            status: Text, "`success` or `error`",
            output: Text, "what it says at its end",
            usage: Object, "`prompt_tokens` and `completion_tokens`",
            question "?": Text, "what the user is asked, if the role waits for an answer",
            sent_back "?": Flag, "its work goes back to the engineer",
            error "?": Text, "what went wrong"),
        K::AgentError => form!("a role cannot go on, and the team ends",
            error: Text, "what went wrong",
            error_type: Text, "its kind, for programs"),
        K::MessageDelta => form!("a piece of a message that is being written",
            delta: Text, "the piece",
            role: Text, "`assistant`"),
        K::MessageReset => form!("the pieces since the last message do not count: the reply begins again",
            reason: Text, "why"),
        K::MessageComplete => form!("a whole message of the conversation",
            role: Text, "`user`, `assistant`, `tool`, or `system` for a summary",
            content: Text, "its text",
            tool_calls "?": List, "the calls that it makes: `type`, `id`, `name`, `args`",
            tool_call_id "?": Text, "the call that it is the result of",
            usage "?": Object, "`prompt_tokens` and `completion_tokens` of the reply",
            metadata "?": Object, "`finish`, `final`, `reasoning`, `success`, `from` and others, for programs that go on from it"),
        K::ReasoningDelta => form!("a piece of what the model thinks before it answers",
            delta: Text, "the piece"),
        K::ToolDelta => form!("a piece of the arguments of a call that is being written",
            delta: Text, "the piece",
            tool_name: Text, "the tool",
            call: Count, "which call of the reply",
            path "?": Text, "the file that it writes, as soon as that is known"),
        K::ProviderWait => form!("the team waits before it asks the model's provider again",
            reason: Text, "what the provider says",
            code: Text, "the kind of the error, for programs",
            wait_ms: Count, "how long it waits",
            try: Count, "how often it has asked"),
        K::ContextShortened => form!("the conversation was shortened, so that the request fits into the model's context",
            before_tokens: Count, "its size before",
            after_tokens: Count, "its size now",
            how: List, "what was shortened"),
        K::ToolStart => form!("a call of a tool begins",
            tool_call_id: Text, "the call",
            tool_name: Text, "the tool",
            tool_args: Any, "its arguments, an object if they could be read"),
        K::ToolEnd => form!("a call of a tool has ended",
            tool_call_id: Text, "the call",
            tool_name: Text, "the tool",
            success: Flag, "whether it succeeded",
            tool_result: Text, "what the model is told",
            duration_ms: Count, "how long it took",
            error "?": Text, "what went wrong"),
        K::Log => form!("a line of the command's output, or a note of the runner",
            stream "?": Text, "`stdout`, `stderr`, or `runner`",
            text "?": Text, "the line"),
        K::Custom => form!("what an agent has said under a name that it may not use",
            type "?": Text, "the name",
            data "?": Any, "what it said"),
        K::Other(_) => return None,
    })
}

/// Whether the data of an event that the platform or its team makes has the form of its kind.
///
/// # Errors
/// The first field that is missing, of another type, or not in the form.
pub fn check(kind: &EventKind, data: &Map<String, Value>) -> Result<(), String> {
    let Some(form) = form_of(kind) else { return Ok(()) };
    if data.len() == 1 && INSTEAD.iter().any(|name| data.contains_key(*name)) {
        return Ok(());
    }
    for field in form.fields {
        match data.get(field.name) {
            Some(value) if field.value.fits(value) || (value.is_null() && !field.is_required) => {}
            Some(value) => {
                return Err(format!("{kind}: {} is {value}, not {}", field.name, field.value.name()));
            }
            None if field.is_required => return Err(format!("{kind} has no {}", field.name)),
            None => {}
        }
    }
    match data.keys().find(|name| form.fields.iter().all(|field| field.name != *name)) {
        Some(name) => Err(format!("{kind} has {name}, which is not described")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_with_a_name_has_a_form() {
        for kind in EventKind::named() {
            let form = form_of(&kind).unwrap_or_else(|| panic!("{kind} has no form"));
            assert!(!form.meaning.is_empty());
            for (index, field) in form.fields.iter().enumerate() {
                assert!(
                    form.fields[..index].iter().all(|other| other.name != field.name),
                    "{kind} {}",
                    field.name
                );
            }
        }
        assert!(form_of(&EventKind::of("made_up")).is_none());
    }

    #[test]
    fn what_is_not_described_is_found() {
        let check = |kind: &str, data: Value| {
            let Value::Object(data) = data else { panic!("data is an object") };
            check(&EventKind::of(kind), &data)
        };
        assert_eq!(check("message_delta", json!({ "delta": "x", "role": "assistant" })), Ok(()));
        assert_eq!(check("message_delta", json!({ "truncated": true })), Ok(()));
        assert_eq!(check("made_up", json!({ "anything": 1 })), Ok(()));
        assert_eq!(
            check("message_delta", json!({ "role": "assistant" })),
            Err("message_delta has no delta".into())
        );
        assert!(check("message_delta", json!({ "delta": 1, "role": "assistant" })).is_err());
        assert!(check("message_delta", json!({ "delta": "x", "role": "assistant", "more": 1 })).is_err());
        assert!(check("job_running", json!({ "deadline_at": "tomorrow" })).is_err());
    }
}
