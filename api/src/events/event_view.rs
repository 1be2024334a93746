//! An event as clients see it: as JSON, and as a frame of an event stream.

use bytes::{BufMut, BytesMut};
use jiff::Timestamp;
use mgx_protocol::{EventKind, JobId, SessionId};
use mgx_scheduler::Event;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::event_forms::any_data;

/// The first line of a stream: how soon a browser reconnects. No empty line follows, so it is a field of the first frame:
/// some clients take a frame without data for an event.
pub(crate) const OPENING: &str = "retry: 1000\n";

/// A ping, which keeps the connection open. It has no `id`, so that the reader's `Last-Event-ID` stays.
pub(crate) const PING: &str = "event: ping\ndata: {}\n\n";

/// A frame of an event stream (WHATWG HTML, section 9.2).
#[derive(ToSchema)]
#[expect(dead_code, reason = "what is written is text; this describes it")]
pub(crate) struct FrameView {
    /// The number of the event; a `ping` has none.
    #[schema(required = false)]
    id: Option<String>,
    /// The type of the event, or `ping`.
    event: String,
    /// One line of JSON: the event as a page of events has it.
    data: String,
}

/// An event of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView<'a> {
    /// Version of this form: 1.
    v: u8,
    /// Its number in the session: 1, 2, 3, … without gaps.
    seq: u64,
    /// When it happened.
    ts: Timestamp,
    /// The session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// The job.
    #[schema(value_type = uuid::Uuid)]
    job_id: JobId,
    /// The attempt at the job.
    attempt: u32,
    /// What happened: `agent_start`, `message_delta`, …, `finish`; docs/events.md has all.
    event_type: &'a str,
    /// The agent that did it, if one did.
    agent_name: Option<&'a str>,
    /// The data of the event; its fields depend on the type.
    #[schema(schema_with = any_data)]
    data: &'a Map<String, Value>,
}

impl<'a> EventView<'a> {
    /// Shows `event`.
    pub(crate) fn new(event: &'a Event) -> Self {
        Self {
            v: 1,
            seq: event.seq,
            ts: event.at,
            session_id: &event.session,
            job_id: event.job,
            attempt: event.attempt.0,
            event_type: event.kind.as_str(),
            agent_name: event.agent.as_deref(),
            data: &event.data,
        }
    }
}

/// Adds the frame of `event` to `bytes` (WHATWG HTML section 9.2). JSON escapes every control character, so the
/// data is one line whatever is in it.
pub(crate) fn frame(event: &Event, bytes: &mut BytesMut) {
    bytes.put_slice(b"id: ");
    bytes.put_slice(event.seq.to_string().as_bytes());
    bytes.put_slice(b"\nevent: ");
    bytes.put_slice(frame_name(&event.kind).as_bytes());
    bytes.put_slice(b"\ndata: ");
    serde_json::to_writer(bytes.writer(), &EventView::new(event)).expect("memory takes every write");
    bytes.put_slice(b"\n\n");
}

/// The name of the frame. A container chooses it: a name that could end its line becomes `custom`.
fn frame_name(kind: &EventKind) -> &str {
    if kind.is_plain() { kind.as_str() } else { EventKind::Custom.as_str() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mgx_protocol::Attempt;

    pub(crate) fn event(seq: u64, kind: &str, data: Value) -> Event {
        let Value::Object(data) = data else { panic!("data is an object") };
        Event {
            seq,
            at: Timestamp::from_second(1_700_000_000).unwrap(),
            session: "demo".parse().unwrap(),
            job: JobId(uuid::Uuid::from_u128(7)),
            attempt: Attempt(1),
            kind: kind.into(),
            agent: Some("engineer".into()),
            data,
        }
    }

    fn text(event: &Event) -> String {
        let mut bytes = BytesMut::new();
        frame(event, &mut bytes);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_frame_is_id_event_and_one_line_of_data() {
        let delta = event(12, "message_delta", serde_json::json!({"delta": "Hello ", "role": "assistant"}));
        insta::assert_snapshot!(text(&delta));
    }

    #[test]
    fn no_data_injects_a_frame() {
        let evil = "a\n\nevent: finish\r\rid: 99\0\u{2028}";
        let mut event = event(1, evil, serde_json::json!({ "delta": evil, evil: evil }));
        event.agent = Some(evil.into());
        let text = text(&event);
        assert_eq!(text.matches(['\n', '\r', '\0']).count(), 4, "{text:?}");
        assert!(text.starts_with("id: 1\nevent: custom\ndata: {") && text.ends_with("}\n\n"), "{text:?}");
    }
}
