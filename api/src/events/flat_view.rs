//! The flat form of an event, as the clients of the original platform read it: the fields of `data` beside its type.

use bytes::{BufMut, BytesMut};
use mgx_protocol::EventKind;
use mgx_scheduler::Event;
use serde_json::{Map, Value, json};

/// Adds the flat frame of `event` to `bytes`. Its `id:` is the number of the event, as in the other form.
pub(crate) fn frame(event: &Event, bytes: &mut BytesMut) {
    bytes.put_slice(b"event: ");
    bytes.put_slice(frame_name(&event.kind).as_bytes());
    bytes.put_slice(b"\nid: ");
    bytes.put_slice(event.seq.to_string().as_bytes());
    bytes.put_slice(b"\ndata: ");
    serde_json::to_writer(bytes.writer(), &flat(event)).expect("memory takes every write");
    bytes.put_slice(b"\n\n");
}

/// The data of the event with the fields that every event has; those come last, so that no data can take their names.
fn flat(event: &Event) -> Map<String, Value> {
    let mut flat = match &event.kind {
        EventKind::MessageDelta => streamed(event, "text"),
        EventKind::ToolDelta => {
            let mut flat = streamed(event, "tool_call");
            flat.insert("tool_call_name".to_owned(), field(event, "tool_name"));
            flat.insert("tool_call_index".to_owned(), field(event, "call"));
            flat
        }
        _ => event.data.clone(),
    };
    let mut put = |name: &str, value: Value| {
        flat.insert(name.to_owned(), value);
    };
    put("event_type", json!(name(&event.kind)));
    put("session_id", json!(event.session));
    put("timestamp", json!(event.at.as_duration().as_secs_f64()));
    put("run_id", json!(event.job));
    put("seq", json!(event.seq));
    if let Some(agent) = &event.agent {
        put("agent_name", json!(agent));
    }
    match event.kind {
        // what is being written has one id; the whole message takes its place under an id of its own
        EventKind::MessageDelta | EventKind::ToolDelta => {
            let agent = event.agent.as_deref().unwrap_or_default();
            put("message_id", json!(format!("{}-{}-{agent}", event.job, event.attempt.0)));
        }
        EventKind::MessageComplete => put("message_id", json!(format!("{}-{}", event.session, event.seq))),
        _ => {}
    }
    flat
}

/// The data of a piece, as `llm_stream` has it.
fn streamed(event: &Event, content: &str) -> Map<String, Value> {
    Map::from_iter([
        ("delta".to_owned(), field(event, "delta")),
        ("content_type".to_owned(), json!(content)),
        ("namespace".to_owned(), json!(event.agent.as_slice())),
    ])
}

fn field(event: &Event, name: &str) -> Value {
    event.data.get(name).cloned().unwrap_or_default()
}

/// The `event_type`: the pieces have the name that the original's clients look for.
fn name(kind: &EventKind) -> &str {
    match kind {
        EventKind::MessageDelta | EventKind::ToolDelta => "llm_stream",
        kind => kind.as_str(),
    }
}

/// The name of the frame, of the six that the original has.
fn frame_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::MessageDelta | EventKind::ToolDelta | EventKind::ReasoningDelta => "delta",
        EventKind::MessageComplete => "message",
        EventKind::AgentError => "error",
        EventKind::Finish => "finish",
        EventKind::Custom | EventKind::Other(_) => "custom",
        EventKind::Job(_)
        | EventKind::JobReattached
        | EventKind::Truncated
        | EventKind::LlmUsage
        | EventKind::LlmRefused
        | EventKind::AgentStart
        | EventKind::AgentEnd
        | EventKind::MessageReset
        | EventKind::ProviderWait
        | EventKind::ContextShortened
        | EventKind::ToolStart
        | EventKind::ToolEnd
        | EventKind::Log => "status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event_view::tests::event;

    fn text(event: &Event) -> String {
        let mut bytes = BytesMut::new();
        frame(event, &mut bytes);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_fields_of_data_stand_beside_the_type() {
        let events = [
            event(12, "message_delta", json!({ "delta": "Hello ", "role": "assistant" })),
            event(13, "tool_delta", json!({ "delta": "{\"path\"", "tool_name": "write_file", "call": 0 })),
            event(14, "message_complete", json!({ "role": "assistant", "content": "Hello you" })),
            event(15, "agent_error", json!({ "error": "no model", "error_type": "llm_refused" })),
            event(16, "finish", json!({ "status": "success", "state": "succeeded" })),
        ];
        insta::assert_snapshot!(events.iter().map(text).collect::<String>());
    }

    #[test]
    fn no_data_injects_a_frame_or_takes_the_place_of_the_type() {
        let evil = "a\n\nevent: finish\r\rid: 99\0";
        let mut event =
            event(1, evil, json!({ "event_type": "finish", "timestamp": 0, "session_id": "x", evil: evil }));
        event.agent = Some(evil.into());
        let text = text(&event);
        assert_eq!(text.matches(['\n', '\r', '\0']).count(), 4, "{text:?}");
        let data: Value =
            serde_json::from_str(text.lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["event_type"], &data["session_id"]), (&json!(evil), &json!("demo")));
    }
}
