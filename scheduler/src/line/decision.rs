//! What was weighed when a job was given its turn, for whoever reads in the log why it was this one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::usage::{Limit, Obstacle};

/// What was weighed when a job was given its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Since it was accepted.
    pub(crate) waited: Duration,
    /// What its priority had grown to.
    pub(crate) priority: u64,
    /// How many jobs held a slot, of how many that may.
    pub(crate) running: usize,
    pub(crate) max_running: usize,
    /// How many of them were of its user.
    pub(crate) user_running: usize,
    pub(crate) user_turn: Turn,
    pub(crate) passed_over: Passed,
}

/// The turn of its user: of all who might have run it was the least in virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) time: u64,
    pub(crate) weight: u32,
}

/// Who stood before it and could not run: how many by which limit. Of those who would have waited for each other only
/// the first counts, and of a user who has all that a user may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed(BTreeMap<Limit, u32>);

impl Passed {
    pub(super) fn note(&mut self, obstacle: Obstacle) {
        *self.0.entry(obstacle.limit).or_default() += 1;
    }
}

impl Decision {
    /// The data of the event that tells of it.
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
