//! The tool calls of a reply of which some fragments have arrived, told apart by index, id, name or order.

use serde_json::{Map, Value};

/// A call of which some fragments have arrived.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    pub(super) index: Option<i64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) provider_fields: Map<String, Value>,
    pub(super) brackets: Brackets,
}

/// What a fragment says of the call that it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentKey<'a> {
    pub(super) index: Option<i64>,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) has_arguments: bool,
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

    /// Adds to the arguments.
    pub(super) fn add_arguments(&mut self, text: &str) {
        self.brackets.follow(text);
        self.arguments.push_str(text);
    }

    /// Whether the arguments have come, with every bracket closed.
    fn is_whole(&self) -> bool {
        self.brackets.have_opened && self.brackets.depth == 0
    }

    /// Whether some of the arguments have come, and more must follow.
    fn is_begun(&self) -> bool {
        !self.arguments.is_empty() && !self.is_whole()
    }

    /// Whether a fragment with this key goes on with this call, which is the last one that its index allows; `tools` are the
    /// names of whole tools.
    fn goes_on(&self, key: FragmentKey<'_>, tools: &[String]) -> bool {
        let FragmentKey { id, name, has_arguments, .. } = key;
        let is_known = |name: &str| tools.iter().any(|tool| tool == name);
        if !name.is_empty()
            && !self.name.is_empty()
            && name != self.name
            && is_known(name)
            && is_known(&self.name)
        {
            return false;
        }
        if id.is_empty() || self.id.is_empty() {
            // a name after whole arguments begins the next call, if nothing else tells them apart
            return name.is_empty() || self.name.is_empty() || !self.is_whole();
        }
        // another id: some services send a new one with every fragment
        if name.is_empty() {
            self.is_begun() || (has_arguments && self.arguments.is_empty())
        } else {
            self.is_begun() && name == self.name
        }
    }
}

/// The call among `calls` that a fragment belongs to; `None`: it begins a new one.
pub(super) fn position(calls: &[Fragments], key: FragmentKey<'_>, tools: &[String]) -> Option<usize> {
    let same_index = |call: &Fragments| key.index.is_none() || call.index == key.index;
    // two calls may share an id, and all calls may share an index
    let same_id = |call: &Fragments| !key.id.is_empty() && same_index(call) && call.id == key.id;
    if let Some(position) = calls.iter().rposition(same_id) {
        return Some(position);
    }
    let position = calls.iter().rposition(same_index)?;
    calls[position].goes_on(key, tools).then_some(position)
}

/// The brackets of JSON that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    depth: usize,
    have_opened: bool,
    is_in_string: bool,
    is_escaped: bool,
}

impl Brackets {
    fn follow(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => {
                    // a string that is not inside brackets is an object that was encoded twice
                    self.have_opened |= self.is_in_string && self.depth == 0;
                    self.is_in_string = !self.is_in_string;
                }
                b'{' | b'[' if !self.is_in_string => {
                    self.depth += 1;
                    self.have_opened = true;
                }
                b'}' | b']' if !self.is_in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}
