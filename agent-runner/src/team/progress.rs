//! Notices when a role goes round in circles: the same calls with the same results, or one error after the other. Pure.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::model::reply::ToolCall;

/// How many calls are looked back upon.
const WINDOW: usize = 15;

/// How often the same call may have the same result before the model is warned, and before it is stopped.
const SAME: (usize, usize) = (3, 5);

/// How many failing calls in a row lead to a warning, and to the end.
const FAILING: (usize, usize) = (5, 10);

/// The calls of a role so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The newest calls with their results, as hashes.
    calls: VecDeque<u64>,
    failing: usize,
}

/// What is to be done about a role that is stuck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// The model is warned, with this text.
    Warn(String),
    /// The role is stopped, for this reason.
    Stop(String),
}

impl Progress {
    /// Adds a call and its result.
    pub(crate) fn add(&mut self, call: &ToolCall, result: &str, success: bool) -> Option<Stuck> {
        let mut hasher = DefaultHasher::new();
        (&call.name, call.arguments.value().to_string(), result).hash(&mut hasher);
        self.calls.push_back(hasher.finish());
        if self.calls.len() > WINDOW {
            self.calls.pop_front();
        }
        self.failing = if success { 0 } else { self.failing + 1 };
        // two or three calls that take turns count like one call that is repeated
        let repeated = self.repeated(1).max(self.repeated(2)).max(self.repeated(3));
        if repeated >= SAME.1 {
            let why = format!(
                "the model made the same call {repeated} times with the same result ({}), also after a warning; what it had \
                 written before is kept",
                call.name
            );
            return Some(Stuck::Stop(why));
        }
        if self.failing >= FAILING.1 {
            let end = result.floor_char_boundary(300);
            let why = format!("{} calls in a row failed, the last with: {}", self.failing, &result[..end]);
            return Some(Stuck::Stop(why));
        }
        if repeated == SAME.0 {
            let warning = format!(
                "(You have made this call {repeated} times with the same result. It will not change. Do something else, or \
                 end with what you have.)"
            );
            return Some(Stuck::Warn(warning));
        }
        (self.failing == FAILING.0).then(|| {
            let warning = "(Your last calls have all failed. Read the errors and change your approach.)";
            Stuck::Warn(warning.to_owned())
        })
    }

    /// How often the last `period` calls have been made in a row, at the end.
    fn repeated(&self, period: usize) -> usize {
        let newest: Vec<u64> = self.calls.iter().rev().copied().collect();
        let Some(pattern) = newest.get(..period) else { return 0 };
        newest.chunks(period).take_while(|chunk| *chunk == pattern).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::model::reply::arguments::Arguments;
    use serde_json::Map;

    fn played(calls: &[(&str, &str, bool)]) -> Vec<&'static str> {
        let mut progress = Progress::default();
        calls
            .iter()
            .map(|(path, result, success)| {
                let call = ToolCall {
                    id: "1".into(),
                    name: "read_file".into(),
                    arguments: Arguments::read(&format!(r#"{{"path":"{path}"}}"#), false),
                    provider_fields: Map::new(),
                };
                match progress.add(&call, result, *success) {
                    None => "",
                    Some(Stuck::Warn(_)) => "warn",
                    Some(Stuck::Stop(_)) => "stop",
                }
            })
            .collect()
    }

    #[test]
    fn the_same_call_with_the_same_result_is_noticed() {
        assert_eq!(played(&[("a", "x", true); 5]), ["", "", "warn", "", "stop"]);
        let changing: Vec<_> = ["1", "2", "3", "4", "5"].map(|result| ("a", result, true)).to_vec();
        assert_eq!(played(&changing), [""; 5], "what changes is looked at again");
    }

    #[test]
    fn pairs_that_alternate_are_noticed() {
        let pair = [("a", "x", true), ("b", "y", true)];
        let said = played(&pair.repeat(5));
        assert_eq!((said[5], said[9]), ("warn", "stop"), "{said:?}");
    }

    #[test]
    fn one_error_after_the_other_is_noticed() {
        let results: Vec<_> = (0..10).map(|number| format!("error {number}")).collect();
        let calls: Vec<_> = results.iter().map(|result| ("a", result.as_str(), false)).collect();
        let said = played(&calls);
        assert_eq!((said[4], said[9]), ("warn", "stop"), "{said:?}");
    }
}
