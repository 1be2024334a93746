//! A tool call of which some fragments have arrived.

use serde_json::{Map, Value};

/// A call of which some fragments have arrived.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    pub(super) index: Option<i64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) provider_fields: Map<String, Value>,
}

impl Fragments {
    /// Adds a name, which may come whole in every fragment, or in pieces before the arguments.
    pub(super) fn add_name(&mut self, name: &str) {
        if self.name.is_empty() || (name.starts_with(&self.name) && self.arguments.is_empty()) {
            name.clone_into(&mut self.name);
        } else if !name.is_empty() && name != self.name && self.arguments.is_empty() {
            self.name.push_str(name);
        }
    }
}
