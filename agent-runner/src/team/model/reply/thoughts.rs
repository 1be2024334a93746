//! Separates thoughts that a model writes as `<think>…</think>` into its content from what it says. Pure.

/// The tags around thoughts.
const TAGS: [&str; 4] = ["think", "thinking", "thought", "reasoning"];

/// The longest opening or closing tag, in bytes.
const MAX_TAG_BYTES: usize = "</reasoning>".len();

/// Separates a content that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Thoughts {
    state: State,
    /// Text that may be the beginning of a tag.
    held: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but white space has come.
    #[default]
    Start,
    /// Inside the thoughts of this tag.
    Inside(&'static str),
    /// The thoughts have ended, or there are none.
    After,
}

/// A piece of content, separated.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Separated {
    pub(super) said: String,
    pub(super) thought: String,
}

impl Thoughts {
    /// Separates the next piece.
    pub(super) fn push(&mut self, text: &str) -> Separated {
        let mut out = Separated::default();
        self.held.push_str(text);
        loop {
            match self.state {
                State::After => {
                    out.said.push_str(&std::mem::take(&mut self.held));
                    return out;
                }
                State::Start => {
                    let begin = self.held.trim_start();
                    if let Some(tag) = TAGS.into_iter().find(|tag| begin.starts_with(&format!("<{tag}>"))) {
                        self.held = begin[tag.len() + 2..].to_owned();
                        self.state = State::Inside(tag);
                    } else if TAGS.into_iter().any(|tag| format!("<{tag}>").starts_with(begin)) {
                        return out;
                    } else {
                        self.held = begin.to_owned();
                        self.state = State::After;
                    }
                }
                State::Inside(tag) => {
                    let close = format!("</{tag}>");
                    if let Some(at) = self.held.find(&close) {
                        out.thought.push_str(&self.held[..at]);
                        self.held = self.held[at + close.len()..].trim_start().to_owned();
                        // a second block of thoughts may follow
                        self.state = State::Start;
                    } else {
                        let keep =
                            self.held.floor_char_boundary(self.held.len().saturating_sub(MAX_TAG_BYTES));
                        let at = self.held[keep..].find('<').map_or(self.held.len(), |at| keep + at);
                        out.thought.push_str(&self.held[..at]);
                        self.held.drain(..at);
                        return out;
                    }
                }
            }
        }
    }

    /// What was held back when the content has ended.
    pub(super) fn finish(&mut self) -> Separated {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Inside(_) => Separated { said: String::new(), thought: held },
            State::Start | State::After => {
                Separated { said: held.trim_start().to_owned(), thought: String::new() }
            }
        }
    }
}

/// Separates thoughts whose opening tag was part of the prompt, so that only the closing one is in the content. A tag that
/// the model only speaks of, in quotes or code, closes nothing.
pub(super) fn without_opening_tag(content: &str) -> Option<(String, String)> {
    TAGS.into_iter().find_map(|tag| {
        let close = format!("</{tag}>");
        let (at, _) = content.match_indices(&close).find(|(at, _)| !is_quoted(content, *at, close.len()))?;
        let (thought, said) = (&content[..at], &content[at + close.len()..]);
        (!thought.contains(&format!("<{tag}>"))).then(|| (thought.to_owned(), said.trim_start().to_owned()))
    })
}

/// Whether the text at `at` stands in quotes, in a code span or in a code fence: the model speaks of it.
pub(super) fn is_quoted(content: &str, at: usize, length: usize) -> bool {
    const QUOTES: [char; 4] = ['`', '"', '\'', '“'];
    let before = &content[..at];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let is_in_fence = before.matches("```").count() % 2 == 1;
    let is_in_span = line.replace("```", "").matches('`').count() % 2 == 1;
    let is_between_quotes =
        before.ends_with(QUOTES) && content[at + length..].starts_with(['`', '"', '\'', '”']);
    is_in_fence || is_in_span || is_between_quotes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn separated(pieces: &[&str]) -> (String, String) {
        let mut thoughts = Thoughts::default();
        let mut all: Vec<_> = pieces.iter().map(|piece| thoughts.push(piece)).collect();
        all.push(thoughts.finish());
        let join = |part: fn(&Separated) -> &str| all.iter().map(part).collect::<String>();
        (join(|it| &it.said), join(|it| &it.thought))
    }

    #[test]
    fn thoughts_are_separated() {
        let same = |said: &str, thought: &str| (said.to_owned(), thought.to_owned());
        assert_eq!(separated(&["<think>a {1}</think>\n\nDone."]), same("Done.", "a {1}"));
        assert_eq!(separated(&["\n<thinking>", "a", "</thinking>b"]), same("b", "a"));
        assert_eq!(separated(&["<think>never closed"]), same("", "never closed"));
        assert_eq!(separated(&["a <think>b</think>"]), same("a <think>b</think>", ""));
        assert_eq!(separated(&["<thin", "g>"]), same("<thing>", ""));
        assert_eq!(without_opening_tag("a</think>b"), Some(same("a", "b")));
        for spoken_of in
            ["a<b", "The `</think>` tag", "Remove \"</think>\" there", "```\n</think>\n```", "`a </think>`"]
        {
            assert_eq!(without_opening_tag(spoken_of), None, "{spoken_of}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(cuts in prop::collection::vec(0..60_usize, 0..6)) {
            let text = "<think>größe <b> </thin</think>\n<think>x</think> Ja: <think>";
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| text.floor_char_boundary(cut.min(text.len()))).collect();
            cuts.sort_unstable();
            let bounds: Vec<_> = [0].into_iter().chain(cuts).chain([text.len()]).collect();
            let pieces: Vec<_> = bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(separated(&pieces), separated(&[text]));
        }
    }
}
