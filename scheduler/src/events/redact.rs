//! Hides secrets in the events of jobs: those that the platform knows, and what looks like one. Pure.
//!
//! A secret that is encoded, in base64 for example, is not found: a program that has it can always disclose it.

mod patterns;
mod stream;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use memchr::memmem::Finder;

use patterns::{Found, Rest};
pub(crate) use stream::StreamRedactor;

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// The shortest text that is hidden, in bytes: shorter ones are words.
const SHORTEST: usize = 8;

/// What the names of environment variables that hold secrets contain.
const SECRET_NAMES: [&str; 9] =
    ["KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "PRIVATE", "COOKIE", "AUTHORIZATION"];

/// Finds secrets in texts. It shows none of those it knows; the default knows none.
#[derive(Clone, Default)]
pub struct Redactor {
    values: Vec<Finder<'static>>,
    patterns: bool,
}

impl Redactor {
    /// One that knows `secrets`, each of at least 8 bytes; and with `patterns` what well-known tokens and private keys
    /// look like.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, patterns: bool) -> Self {
        let mut redactor = Self { values: Vec::new(), patterns };
        redactor.learn(secrets);
        redactor
    }

    /// The same that also knows the secrets in the environment of a job: what has a name that says so, and passwords in
    /// addresses.
    pub(crate) fn with_env(&self, env: &BTreeMap<String, String>) -> Self {
        let mut redactor = self.clone();
        for (name, value) in env {
            let name = name.to_ascii_uppercase();
            if SECRET_NAMES.iter().any(|word| name.contains(word)) {
                redactor.learn([value.as_str()]);
            } else {
                redactor.learn(password_in(value));
            }
        }
        redactor
    }

    /// `text` without the secrets in it.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let (cuts, _) = self.find(text, None);
        if cuts.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut clean, mut after) = (String::with_capacity(text.len()), 0);
        for cut in cuts {
            clean.push_str(&text[after..cut.start]);
            clean.push_str(REDACTED);
            after = cut.end;
        }
        clean.push_str(&text[after..]);
        Cow::Owned(clean)
    }

    /// What is printed is printed line by line, so a secret of several lines is as many secrets.
    fn learn<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) {
        for line in secrets.into_iter().flat_map(str::lines).map(str::trim) {
            if line.len() >= SHORTEST && !self.values.iter().any(|known| known.needle() == line.as_bytes()) {
                self.values.push(Finder::new(line).into_owned());
            }
        }
    }

    /// Where the secrets in `text` are, none touching another; and what the last one goes on with, if the text ends with
    /// it. A line ends before the byte at `line_break`.
    fn find(&self, text: &str, line_break: Option<usize>) -> (Vec<Range<usize>>, Option<Rest>) {
        let (mut cuts, mut open) = (Vec::new(), None);
        for value in &self.values {
            let length = value.needle().len();
            cuts.extend(value.find_iter(text.as_bytes()).map(|at| at..at + length));
        }
        if self.patterns {
            for Found { range, rest } in patterns::find(text, line_break) {
                open = rest;
                cuts.push(range);
            }
        }
        (merged(cuts), open)
    }

    /// Where a secret begins that the end of `text` may be the beginning of, if one does: the first of them.
    fn begun(&self, text: &str) -> Option<usize> {
        let bytes = text.as_bytes();
        let begins = |value: &Finder<'_>| {
            let value = value.needle();
            let from = bytes.len().saturating_sub(value.len() - 1);
            memchr::memchr_iter(value[0], &bytes[from..])
                .map(|at| from + at)
                .find(|at| value.starts_with(&bytes[*at..]))
        };
        self.values.iter().filter_map(begins).min()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { values, patterns } = self;
        f.debug_struct("Redactor").field("values", &values.len()).field("patterns", patterns).finish()
    }
}

/// The password in an address such as `postgres://ann:password@host/`.
fn password_in(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let (user, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// The same places from left to right, those that touch made one.
fn merged(mut cuts: Vec<Range<usize>>) -> Vec<Range<usize>> {
    cuts.sort_unstable_by_key(|cut| (cut.start, cut.end));
    cuts.dedup_by(|next, cut| {
        let touches = next.start <= cut.end;
        if touches {
            cut.end = cut.end.max(next.end);
        }
        touches
    });
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_hidden_wherever_it_stands() {
        let redactor = Redactor::new(["canary-one-9d27", "canary-one-9d27-longer", "short", "  "], false);
        for (text, clean) in [
            ("nothing", "nothing"),
            ("canary-one-9d27", "[redacted]"),
            ("a canary-one-9d27-longer b", "a [redacted] b"),
            ("canary-one-9d27canary-one-9d27", "[redacted]"),
            ("é(canary-one-9d27)é", "é([redacted])é"),
            ("short canary-one-9d2", "short canary-one-9d2"),
            ("sk-proj-abc123DEF456ghi789", "sk-proj-abc123DEF456ghi789"),
        ] {
            assert_eq!(redactor.text(text), clean);
        }
        assert_eq!(Redactor::new([], true).text("a sk-proj-abc123DEF456ghi789"), "a [redacted]");
        assert_eq!(format!("{redactor:?}"), "Redactor { values: 2, patterns: false }");
    }

    #[test]
    fn the_names_of_variables_say_which_are_secret() {
        let env = [
            ("STRIPE_API_KEY", "value-of-stripe"),
            ("password", "value-of-pass"),
            ("DATABASE_URL", "postgres://ann:value-of-url@db.example/x?y=a@b"),
            ("HOMEPAGE", "https://example.org/a:b@c"),
            ("GREETING", "value-of-greeting"),
            ("PIN_SECRET", "1234"),
            ("PRIVATE", "first line\n  second line\n"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let redactor = Redactor::new([], false).with_env(&env);
        for value in env.values() {
            let clean = redactor.text(value);
            assert!(!clean.contains("stripe") && !clean.contains("-pass") && !clean.contains("-of-url"));
        }
        assert_eq!(redactor.text("value-of-greeting 1234 a:b@c"), "value-of-greeting 1234 a:b@c");
        assert_eq!(redactor.text(">second line<"), ">[redacted]<");
    }
}
