//! A name out of a list that a newer server may have made longer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name that this client knows, or the text of one that it does not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OpenEnum<T> {
    /// One of the known names.
    Known(T),
    /// The name as the server wrote it.
    Other(String),
}

impl<T: Copy> OpenEnum<T> {
    /// The name, if this client knows it.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(name) => Some(*name),
            Self::Other(_) => None,
        }
    }
}

impl<T: fmt::Display> fmt::Display for OpenEnum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => name.fmt(f),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl<T> From<T> for OpenEnum<T> {
    fn from(name: T) -> Self {
        Self::Known(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mgx_protocol::StateName;

    #[test]
    fn an_unknown_name_is_kept_as_it_was_written() {
        for (text, known) in [("\"running\"", Some(StateName::Running)), ("\"suspended\"", None)] {
            let state: OpenEnum<StateName> = serde_json::from_str(text).unwrap();
            assert_eq!(state.known(), known);
            assert_eq!(serde_json::to_string(&state).unwrap(), text);
            assert_eq!(format!("\"{state}\""), text);
        }
    }
}
