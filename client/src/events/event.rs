//! One event of a session, as the server sends it.

use jiff::Timestamp;
use mgx_protocol::sse::Frame;
use mgx_protocol::{EventKind, JobId};
use serde_json::{Map, Value};

/// One event of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number in the session.
    pub seq: u64,
    /// When it happened.
    pub at: Option<Timestamp>,
    /// What it tells of.
    pub kind: EventKind,
    /// The agent that it is about.
    pub agent: Option<String>,
    /// The job that it belongs to.
    pub job: Option<JobId>,
    /// The fields of its kind.
    pub data: Map<String, Value>,
}

impl Event {
    /// The event in a frame; `None` for a ping, and for a frame that holds no event.
    pub fn parse(frame: Frame<'_>) -> Option<Self> {
        let id: u64 = frame.id?.parse().ok()?;
        Self::of(serde_json::from_str(frame.data).ok()?).filter(|event| event.seq == id)
    }

    /// The event that the server wrote as `json`.
    pub fn of(json: Value) -> Option<Self> {
        let Value::Object(mut json) = json else { return None };
        let text = |key: &str| json.get(key)?.as_str();
        let kind = EventKind::of(text("event_type")?);
        let agent = text("agent_name").map(str::to_owned);
        let job = text("job_id").and_then(|job| job.parse().ok());
        let at = text("ts").and_then(|at| at.parse().ok());
        let seq = json.get("seq")?.as_u64()?;
        let Some(Value::Object(data)) = json.remove("data") else { return None };
        Some(Self { seq, at, kind, agent, job, data })
    }

    /// The event as one JSON object.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "seq": self.seq, "ts": self.at, "event_type": self.kind, "agent_name": self.agent,
            "job_id": self.job, "data": self.data,
        })
    }

    /// A field of its data that is text; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.data.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}
