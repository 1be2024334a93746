//! What was compared when a job was granted a slot: the data of its `job_admitted` event, for people who ask why it was
//! this one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::limit_key::LimitKey;
use super::usage::ReachedLimit;

/// What was compared when a job was granted a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantReason {
    /// Since the job was accepted.
    pub(crate) waited: Duration,
    /// What its priority had grown to.
    pub(crate) priority: u64,
    /// How many jobs held a slot, and how many may.
    pub(crate) running: usize,
    pub(crate) max_running: usize,
    /// How many of them belonged to its user.
    pub(crate) user_running: usize,
    pub(crate) user_turn: UserTurn,
    pub(crate) passed_over: PassedOver,
}

/// The turn of its user: the least virtual time of all users who had a job that could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserTurn {
    pub(crate) time: u64,
    pub(crate) weight: u32,
}

/// The jobs before it that could not run: how many for each limit. Of jobs that would have waited for each other only the
/// first is counted, and so is a user whose own limit is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassedOver(BTreeMap<LimitKey, u32>);

impl PassedOver {
    pub(super) fn note(&mut self, reached: ReachedLimit) {
        *self.0.entry(reached.limit).or_default() += 1;
    }
}

impl GrantReason {
    /// The data of the `job_admitted` event.
    pub(crate) fn data(&self) -> Map<String, Value> {
        let Self { waited, priority, running, max_running, user_running, user_turn, passed_over } = self;
        let mut data = Map::from_iter([
            ("waited_ms".to_owned(), json!(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX))),
            ("priority".to_owned(), json!(priority)),
            ("running".to_owned(), json!(running)),
            ("max_running".to_owned(), json!(max_running)),
            ("user_running".to_owned(), json!(user_running)),
            ("user_turn".to_owned(), json!({ "time": user_turn.time, "weight": user_turn.weight })),
        ]);
        if !passed_over.0.is_empty() {
            let counts = passed_over.0.iter().map(|(limit, count)| (limit.to_string(), json!(count)));
            data.insert("passed_over".to_owned(), Value::Object(counts.collect()));
        }
        data
    }
}
