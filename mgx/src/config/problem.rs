//! What is wrong with a configuration: one line each, with the place, the key, what was got and what is allowed.

use std::fmt;

use super::layer::Origin;

/// The exit code of a bad configuration: `EX_CONFIG` of `sysexits.h`.
pub const EXIT: u8 = 78;

/// Something that must be corrected before anything is opened or bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// The setting; empty if the whole file is meant.
    pub key: String,
    /// What is wrong.
    pub what: What,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The file cannot be read, or is no TOML.
    Unreadable(String),
    /// No setting has this name.
    Unknown {
        /// The setting that was meant, perhaps.
        nearest: Option<String>,
    },
    /// The value is not one of those allowed.
    Value {
        /// The value, as it was written; masked if it is secret.
        got: String,
        /// What it may be.
        allowed: String,
    },
    /// The value breaks this rule.
    Rule(String),
    /// The value is fine by itself, but not beside another one.
    Conflict(String),
    /// The path cannot be trusted.
    UnsafePath(String),
    /// The secret is none.
    WeakSecret(String),
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    /// What problems are sorted by: the file from its top to its end, then all other places by name.
    pub(super) fn place(&self) -> (bool, Option<(usize, usize)>, String, String) {
        match &self.origin {
            Origin::File { at, .. } => (false, *at, String::new(), self.key.clone()),
            other => (true, None, other.to_string(), self.key.clone()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.what.fmt(f)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::Unknown { nearest: Some(key) } => write!(f, "unknown key; did you mean {key}?"),
            Self::Unknown { nearest: None } => {
                f.write_str("unknown key; `mgx config --default` lists every key")
            }
            Self::Value { got, allowed } => write!(f, "got {got}, allowed: {allowed}"),
            Self::Rule(rule) => f.write_str(rule),
            Self::Conflict(why) => write!(f, "conflict: {why}"),
            Self::UnsafePath(why) => write!(f, "unsafe-path: {why}"),
            Self::WeakSecret(why) => write!(f, "weak-secret: {why}"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

/// The known key that is nearest to an unknown one, if any is near enough to be meant.
pub(super) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let leaf = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |key: &String| edits(unknown, key).min(1 + edits(&leaf(unknown), &leaf(key)));
    let limit = (leaf(unknown).chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|key| (distance(key), key))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, key)| key.clone())
}

/// How many letters must be added, removed or changed (Levenshtein's distance).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(200).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(200).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        let known = ["agent.memory", "agent.timeout", "scheduler.max_running", "server.listen", "runtime"]
            .map(str::to_owned);
        for (typo, meant) in [
            ("agent.memmory", Some("agent.memory")),
            ("scheduler.max_runing", Some("scheduler.max_running")),
            ("agent.listen", Some("server.listen")),
            ("runtimes", Some("runtime")),
            ("nothing.like.it", None),
        ] {
            assert_eq!(nearest(typo, &known).as_deref(), meant, "{typo}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }
}
