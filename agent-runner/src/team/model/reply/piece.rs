//! What a chunk of a reply adds to it, to be shown while it comes.

/// What a chunk adds, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// To the text.
    Text(String),
    /// To the reasoning.
    Reasoning(String),
    /// To the arguments of a call.
    Arguments {
        /// The tool.
        tool: String,
        /// The number of the call in the reply.
        call: usize,
        /// The text.
        text: String,
    },
}

impl Piece {
    /// Whether both add to the same: the text, the reasoning, or the arguments of one call.
    pub(crate) fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(_), Self::Text(_)) | (Self::Reasoning(_), Self::Reasoning(_)) => true,
            (Self::Arguments { call, .. }, Self::Arguments { call: other, .. }) => call == other,
            (Self::Text(_) | Self::Reasoning(_) | Self::Arguments { .. }, _) => false,
        }
    }

    /// The text that is added.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Arguments { text, .. } => text,
        }
    }

    /// The text that is added, to add more.
    pub(crate) fn text_mut(&mut self) -> &mut String {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Arguments { text, .. } => text,
        }
    }
}
