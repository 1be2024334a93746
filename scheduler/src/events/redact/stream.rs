//! Hides secrets in the events of one run, in which a text comes piece by piece and a secret may be cut between two.
//!
//! No piece is held back: an event that is not stored is not acknowledged, and an agent whose events are not acknowledged
//! waits. So the first bytes of a secret, fewer than 8, may be shown, and what follows is not: once 8 bytes at the end of
//! a piece are the beginning of a secret they are hidden, whether or not the rest comes.

use std::borrow::Cow;

use mgx_protocol::{AgentEvent, EventKind};
use serde_json::{Map, Value};

use super::patterns::{Letters, Rest};
use super::{REDACTED, Redactor, SHORTEST, merged};

/// How many texts of a run are followed from piece to piece; beyond that, the first are forgotten.
const MAX_TEXTS: usize = 64;

/// The end of a piece that may be the beginning of something that looks like a secret, in bytes.
const MAX_WORD: usize = 64;

/// A line of output that is as long was cut by the runner, and goes on in the next.
const CUT_LINE: usize = 10_000;

/// Hides the secrets in all events of one run.
#[derive(Debug)]
pub(crate) struct StreamRedactor {
    redactor: Redactor,
    /// Those whose last piece may have been the beginning of something.
    texts: Vec<(Name, Text)>,
}

/// Which text a piece belongs to: the agent, the kind of the event, the stream and the field.
#[derive(Debug)]
struct Name {
    agent: Option<String>,
    kind: EventKind,
    stream: Option<String>,
    field: String,
}

/// The same, borrowed from an event.
#[derive(Clone, Copy)]
struct NameOf<'a> {
    agent: Option<&'a str>,
    kind: &'a EventKind,
    stream: Option<&'a str>,
    field: &'a str,
}

/// A text that comes in pieces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Text {
    /// The end of the last piece, as it was reported.
    end: String,
    /// Whether the last piece ended a line.
    ended_line: bool,
    /// What a secret goes on with that the last piece ended with.
    open: Option<Rest>,
    /// Whether the last piece ended with something that was hidden.
    hidden: bool,
}

impl StreamRedactor {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, texts: Vec::new() }
    }

    /// Hides the secrets in an event.
    pub(crate) fn event(&mut self, event: &mut AgentEvent) {
        if let Cow::Owned(clean) = self.redactor.text(event.kind.as_str()) {
            event.kind = EventKind::of(&clean);
        }
        if let Some(agent) = &mut event.agent {
            self.replace(agent);
        }
        let stream = event.data.get("stream").and_then(Value::as_str).map(str::to_owned);
        let name =
            NameOf { agent: event.agent.as_deref(), kind: &event.kind, stream: stream.as_deref(), field: "" };
        self.object(&mut event.data, name);
    }

    /// Hides the secrets in a text that comes alone.
    pub(crate) fn replace(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.redactor.text(text) {
            *text = clean;
        }
    }

    fn object(&mut self, object: &mut Map<String, Value>, name: NameOf<'_>) {
        for (field, value) in object.iter_mut() {
            self.value(value, NameOf { field, ..name });
        }
        if object.keys().any(|field| matches!(self.redactor.text(field), Cow::Owned(_))) {
            let fields = std::mem::take(object).into_iter();
            *object = fields.map(|(field, value)| (self.redactor.text(&field).into_owned(), value)).collect();
        }
    }

    fn value(&mut self, value: &mut Value, name: NameOf<'_>) {
        match value {
            Value::String(text) => self.text(text, name),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value, name)),
            Value::Object(object) => self.object(object, name),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, piece: &mut String, name: NameOf<'_>) {
        let place = self.texts.iter().position(|(known, _)| known.is(name));
        let mut text = place.map_or_else(Text::default, |place| std::mem::take(&mut self.texts[place].1));
        if let Some(clean) = text.take(&self.redactor, piece, name.goes_on(piece)) {
            *piece = clean;
        }
        match place {
            Some(place) if text == Text::default() => drop(self.texts.swap_remove(place)),
            Some(place) => self.texts[place].1 = text,
            None if text == Text::default() => {}
            None => {
                if self.texts.len() == MAX_TEXTS {
                    self.texts.swap_remove(0);
                }
                self.texts.push((name.to_owned(), text));
            }
        }
    }
}

impl NameOf<'_> {
    /// Whether the next piece follows without a break.
    fn goes_on(self, piece: &str) -> bool {
        self.field == "delta" || *self.kind == EventKind::Log && piece.len() >= CUT_LINE
    }

    fn to_owned(self) -> Name {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (kind, field) = (self.kind.clone(), self.field.to_owned());
        Name { agent: owned(self.agent), kind, stream: owned(self.stream), field }
    }
}

impl Name {
    fn is(&self, name: NameOf<'_>) -> bool {
        self.field == name.field
            && self.kind == *name.kind
            && self.stream.as_deref() == name.stream
            && self.agent.as_deref() == name.agent
    }
}

impl Text {
    /// The next piece without the secrets in it; `None`: it has none. It `goes_on` if it does not end a line.
    fn take(&mut self, redactor: &Redactor, piece: &str, goes_on: bool) -> Option<String> {
        if piece.is_empty() {
            return None;
        }
        let said = std::mem::take(&mut self.end);
        let before = said.len();
        let text = if before == 0 { Cow::Borrowed(piece) } else { Cow::Owned(said + piece) };
        let line_break = std::mem::take(&mut self.ended_line).then_some(before);
        let (mut cuts, mut open) = redactor.find(&text, line_break);
        if let Some(rest) = self.open.take() {
            let (run, rest) = rest.run(piece);
            cuts.push(before..before + run);
            open = rest.or(open);
        }
        let begun = redactor.begun(&text);
        if let Some(begun) = begun.filter(|begun| text.len() - begun >= SHORTEST) {
            cuts.push(begun..text.len());
        }
        cuts.retain(|cut| cut.end > before);
        let cuts = merged(cuts);
        let clean = (!cuts.is_empty()).then(|| {
            let (mut clean, mut after) = (String::with_capacity(piece.len()), before);
            for cut in &cuts {
                if cut.start >= before {
                    clean.push_str(&text[after..cut.start]);
                }
                // the end of the last piece has it already
                if cut.start > before || !self.hidden {
                    clean.push_str(REDACTED);
                }
                after = cut.end;
            }
            clean.push_str(&text[after..]);
            clean
        });
        // a line that ends ends what looks like a token, and no private key
        self.open = open.filter(|rest| goes_on || matches!(rest, Rest::Key(_)));
        let word = || if goes_on && redactor.patterns { last_word(&text) } else { text.len() };
        let keep = if self.open.is_some() { text.len() } else { word().min(begun.unwrap_or(text.len())) };
        self.end.push_str(&text[keep..]);
        self.ended_line = !goes_on && !self.end.is_empty();
        let goes_on = self.open.is_some() || !self.end.is_empty();
        self.hidden = goes_on && cuts.last().is_some_and(|cut| cut.end == text.len());
        clean
    }
}

/// Where the last word begins, or the end of it if it is long.
fn last_word(text: &str) -> usize {
    let end = &text.as_bytes()[text.len().saturating_sub(MAX_WORD)..];
    text.len() - end.iter().rev().take_while(|byte| Letters::Token.has(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    const SECRET: &str = "mgx_at_9d27fcanary0123456789abcdefghijklmnopqrstu";

    fn event(kind: &str, data: &Value) -> AgentEvent {
        let data = data.as_object().unwrap().clone();
        AgentEvent {
            seq: 1,
            at: Timestamp::UNIX_EPOCH,
            kind: EventKind::of(kind),
            agent: Some("engineer".to_owned()),
            data,
        }
    }

    /// What is told of a text that comes in these pieces, as deltas of a message or as lines of output.
    fn told(pieces: &mut StreamRedactor, texts: &[&str], delta: bool) -> String {
        let mut said = |text: &&str| {
            let mut event = if delta {
                event("message_delta", &json!({ "delta": text }))
            } else {
                event("log", &json!({ "stream": "stdout", "text": text }))
            };
            pieces.event(&mut event);
            event.data[if delta { "delta" } else { "text" }].as_str().unwrap().to_owned()
        };
        texts.iter().map(&mut said).collect()
    }

    #[test]
    fn a_secret_cut_at_every_byte_never_gets_through() {
        let text = format!("before {SECRET} after");
        for redactor in [Redactor::new([SECRET], false), Redactor::new([SECRET], true)] {
            for cut in 0..=text.len() {
                for delta in [true, false] {
                    let mut pieces = StreamRedactor::new(redactor.clone());
                    let told = told(&mut pieces, &[&text[..cut], &text[cut..]], delta);
                    let shown = told.strip_prefix("before ").unwrap().strip_suffix(" after").unwrap();
                    let first = shown.strip_suffix(REDACTED).unwrap();
                    assert!(first.len() < SHORTEST && SECRET.starts_with(first), "{cut} {delta}: {told}");
                }
            }
        }
    }

    #[test]
    fn a_token_in_very_small_pieces_is_hidden_from_where_it_is_known_to_be_one() {
        let secret = "sk-proj-abc123DEF456ghi789jkl012MNO345pqr678stu901VWX234yz567ABC890def";
        let text = format!("key: {secret}. Done.");
        let mut pieces = StreamRedactor::new(Redactor::new([], true));
        let small: Vec<&str> = (0..text.len()).map(|at| &text[at..=at]).collect();
        let told = told(&mut pieces, &small, true);
        assert_eq!(told, "key: sk-proj-abc123DEF456gh[redacted]. Done.");
    }

    #[test]
    fn a_private_key_is_hidden_line_by_line_and_what_follows_is_not() {
        let mut pieces = StreamRedactor::new(Redactor::new([], true));
        let lines = [
            "-----BEGIN PRIVATE KEY-----",
            "MIIBVgIBADANBg",
            "kqhkiG9w0BAQEFAASC",
            "-----END PRIVATE KEY-----",
            "ok.",
        ];
        assert_eq!(told(&mut pieces, &lines, false), "[redacted]ok.");
    }

    #[test]
    fn it_is_hidden_wherever_it_stands_in_an_event() {
        let mut pieces = StreamRedactor::new(Redactor::new([SECRET], false));
        let mut said = event(
            "tool_start",
            &json!({ "args": { "list": [1, SECRET, null], SECRET: true }, "ok": "fine" }),
        );
        said.agent = Some(SECRET.to_owned());
        pieces.event(&mut said);
        assert_eq!(
            json!(said.data),
            json!({ "args": { "list": [1, REDACTED, null], REDACTED: true }, "ok": "fine" })
        );
        assert_eq!(said.agent.as_deref(), Some(REDACTED));
        assert!(pieces.texts.is_empty(), "nothing is kept of what is whole");
    }

    #[test]
    fn a_token_on_a_line_of_its_own_is_found_whatever_the_line_before_ends_with() {
        // the last letter of the first line is the first one of a secret
        let mut pieces = StreamRedactor::new(Redactor::new(["sk-canary-9d27"], true));
        let lines = ["thirty characters", "ghp_canaryCANARY0123456789canaryCANARY", "told"];
        assert_eq!(told(&mut pieces, &lines, false), "thirty characters[redacted]told");
    }

    #[test]
    fn texts_side_by_side_are_no_text() {
        let mut pieces = StreamRedactor::new(Redactor::new([], true));
        let token = "sk-proj-abc123DEF456ghi789";
        let first = told(&mut pieces, &[token], false);
        assert_eq!(first + &told(&mut pieces, &["more", "lines"], false), "[redacted]morelines");
    }

    proptest! {
        #[test]
        fn whatever_is_around_it_and_however_it_is_cut(
            before in "[a-z_ \u{e9}mgx]{0,20}", after in "[a-z_ \u{e9}\n]{0,20}",
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8), delta: bool,
        ) {
            let text = format!("{before}{SECRET}{after}");
            let places: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| *cut.get(&places)).chain([0, text.len()]).collect();
            at.sort_unstable();
            let parts: Vec<&str> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let told = told(&mut StreamRedactor::new(Redactor::new([SECRET], true)), &parts, delta);
            prop_assert!(!told.contains(&SECRET[SHORTEST..]) && !told.contains(&SECRET[..SHORTEST]), "{told}");
            prop_assert!(told.contains(REDACTED) && told.ends_with(after.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_')), "{told}");
        }
    }

    /// Not a promise, a measurement: `cargo test --release -p mgx-scheduler --lib -- --ignored --nocapture redaction`.
    #[test]
    #[ignore = "measures"]
    fn what_redaction_costs() {
        let redactor = Redactor::new(
            [SECRET, "another-secret-of-32-letters-0000", "sk-third-secret-000000000000"],
            true,
        );
        let mut pieces = StreamRedactor::new(redactor);
        let line = "compiled 42 modules in 1.2 s, wrote dist/index.html (12.5 kB) and nothing else";
        let mut events: Vec<_> = (0..200_000)
            .map(|n| match n % 2 {
                0 => event("message_delta", &json!({ "delta": "a word " })),
                _ => event("log", &json!({ "stream": "stdout", "text": line })),
            })
            .collect();
        let begin = std::time::Instant::now();
        for event in &mut events {
            pieces.event(event);
        }
        let each = begin.elapsed() / 200_000;
        println!("{each:?} for an event, {:.0} events/s", 1.0 / each.as_secs_f64());
    }
}
