//! The problems of a configuration: one line each, with its place, the key, the value and the allowed values.

use std::fmt;

use super::origin::Origin;

/// The exit code of a bad configuration: `EX_CONFIG` of `sysexits.h`.
pub const EXIT: u8 = 78;

/// A problem that must be corrected before the program opens or binds anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the setting was written.
    pub origin: Origin,
    /// The key; empty if the whole file is meant.
    pub key: String,
    /// What is wrong.
    pub what: What,
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The file cannot be read, or is not TOML.
    Unreadable(String),
    /// No setting has this name.
    Unknown {
        /// The known key with the most similar name.
        nearest: Option<String>,
    },
    /// The value is not allowed.
    Value {
        /// The value, as it was written; masked if it is secret.
        got: String,
        /// The allowed values.
        allowed: String,
    },
    /// The value breaks a rule, which is the text.
    Rule(String),
    /// The value contradicts another setting.
    Conflict(String),
    /// Others can change what is at the path.
    UnsafePath(String),
    /// The secret is malformed, easy to guess, or others can read it.
    WeakSecret(String),
}

/// Every problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

/// Settings that only matter to what starts containers or asks a model.
const OF_JOBS: [&str; 4] = ["docker.host", "podman.host", "llm.base_url", "llm.api_key"];

impl Problems {
    /// The variables behind these problems, if all of them are variables that other programs read too, such as
    /// `DOCKER_HOST`, and settings that only jobs need: a command that needs no jobs can do without them.
    pub fn of_shared_variables(&self) -> Option<Vec<String>> {
        let variable = |problem: &Problem| match &problem.origin {
            Origin::Env(name) if !name.starts_with("MGX_") && OF_JOBS.contains(&&*problem.key) => {
                Some(name.clone())
            }
            Origin::Env(_) | Origin::Default | Origin::File { .. } | Origin::Flag(_) => None,
        };
        self.0.iter().map(variable).collect()
    }
}

impl Problem {
    /// The sort key of problems: the file from top to end, then all other sources by name.
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

/// The known key that is most similar to an unknown one, if one is similar enough for a spelling mistake.
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

/// The Levenshtein distance: how many letters must be added, removed or changed.
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
    fn a_misspelt_key_is_matched_with_the_known_one() {
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
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", "abc"), 0);
    }
}
