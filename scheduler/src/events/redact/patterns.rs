//! What well-known secrets look like: how each begins, and what may follow.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// A secret that was found by its looks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    /// What of it may still come, if the text ends amid it.
    pub(super) rest: Option<Rest>,
}

/// What a secret goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// More of these letters.
    Letters(Letters),
    /// What is left of a private key, of at most so many bytes.
    Key(usize),
}

/// What a token is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letters {
    /// `A-Z a-z 0-9 _ -`: base64url, and most keys.
    Word,
    /// `A-Z 0-9`.
    Capitals,
    /// What follows `Bearer` (RFC 6750 section 2.1), and a JWT.
    Token,
}

/// How a kind of secret begins, what it is made of, and how much of that makes it one. One of them is a digit: without
/// any it is a word.
#[derive(Debug)]
struct Kind {
    begins: &'static str,
    letters: Letters,
    least: usize,
}

const fn kind(begins: &'static str, letters: Letters, least: usize) -> Kind {
    Kind { begins, letters, least }
}

const KINDS: [Kind; 25] = [
    // ours
    kind("mgx_admin_", Letters::Word, 40),
    kind("mgx_at_", Letters::Word, 40),
    kind("mgx_cs_", Letters::Word, 40),
    kind("mgx_pat_", Letters::Word, 40),
    kind("mgx_rt_", Letters::Word, 40),
    // models
    kind("sk-", Letters::Word, 20),
    kind("hf_", Letters::Word, 30),
    kind("AIza", Letters::Word, 35),
    // GitHub, GitLab, npm, Slack, Stripe
    kind("ghp_", Letters::Word, 30),
    kind("gho_", Letters::Word, 30),
    kind("ghu_", Letters::Word, 30),
    kind("ghs_", Letters::Word, 30),
    kind("ghr_", Letters::Word, 30),
    kind("github_pat_", Letters::Word, 30),
    kind("glpat-", Letters::Word, 20),
    kind("npm_", Letters::Word, 36),
    kind("xoxb-", Letters::Word, 20),
    kind("xoxp-", Letters::Word, 20),
    kind("sk_live_", Letters::Word, 20),
    // Amazon
    kind("AKIA", Letters::Capitals, 16),
    kind("ASIA", Letters::Capitals, 16),
    // headers
    kind("Bearer ", Letters::Token, 16),
    kind("bearer ", Letters::Token, 16),
    // a JWT: two JSON objects in base64url, and a signature
    kind("eyJ", Letters::Token, 30),
    // PEM (RFC 7468)
    kind(PEM, Letters::Token, 0),
];

const PEM: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

/// The longest private key: what only mentions where one begins does not hide everything that follows.
const LONGEST: usize = 8 * 1024;

static BEGINNINGS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let builder =
        AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(KINDS.map(|it| it.begins));
    builder.expect("so few beginnings always make an automaton")
});

/// Every secret in `text` that looks like one, from left to right. A line ends before the byte at `line_break`: a word
/// that stands there begins there.
pub(super) fn find(text: &str, line_break: Option<usize>) -> impl Iterator<Item = Found> + '_ {
    BEGINNINGS.find_iter(text).filter_map(move |at| {
        let begins_line = at.start() == 0 || line_break == Some(at.start());
        let is_inside = !begins_line && Letters::Word.has(text.as_bytes()[at.start() - 1]);
        let kind = &KINDS[at.pattern().as_usize()];
        let rest = &text[at.end()..];
        let (length, rest) = match kind.begins {
            PEM => private_key(rest)?,
            _ if is_inside => return None,
            "eyJ" => token(kind, rest).filter(|(length, _)| rest[..*length].contains(".eyJ"))?,
            _ => token(kind, rest)?,
        };
        Some(Found { range: at.start()..at.end() + length, rest })
    })
}

/// How long the token at the beginning of `text` is, if it is one; and what it goes on with.
fn token(kind: &Kind, text: &str) -> Option<(usize, Option<Rest>)> {
    let (length, rest) = Rest::Letters(kind.letters).run(text);
    let is_one = length >= kind.least && text[..length].bytes().any(|byte| byte.is_ascii_digit());
    is_one.then_some((length, rest))
}

/// How long the private key is whose label is at the beginning of `text`, if it is one; and what it goes on with.
fn private_key(text: &str) -> Option<(usize, Option<Rest>)> {
    let label = text.find("-----").filter(|at| *at <= 64)?;
    if !text[..label].contains("PRIVATE KEY") {
        return None;
    }
    let body = label + 5;
    let (length, rest) = Rest::Key(LONGEST).run(&text[body..]);
    Some((body + length, rest))
}

impl Letters {
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Token => byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte),
        }
    }
}

impl Rest {
    /// How much of `text`, which comes next, belongs to the secret; and what it goes on with, if that is all of it.
    pub(super) fn run(self, text: &str) -> (usize, Option<Self>) {
        let while_in =
            |has: &dyn Fn(u8) -> bool| text.bytes().position(|byte| !has(byte)).unwrap_or(text.len());
        match self {
            Self::Letters(letters) => {
                let length = while_in(&|byte| letters.has(byte));
                (length, (length == text.len()).then_some(self))
            }
            Self::Key(left) => {
                // base64, perhaps with headers before it (RFC 1421), perhaps as JSON writes it
                let body =
                    while_in(&|byte| byte.is_ascii_alphanumeric() || b"+/=-:, \t\r\n\\".contains(&byte));
                if let Some(label) = text[..body].find(PEM_END).map(|at| at + PEM_END.len()) {
                    return (text[label..].find("-----").map_or(body, |at| label + at + 5), None);
                }
                let length = body.min(left);
                (length, (length == text.len() && length < left).then(|| Self::Key(left - length)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text, None).map(|found| &text[found.range]).collect()
    }

    #[test]
    fn what_looks_like_a_secret_is_found() {
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJlMTIz";
        let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----";
        for secret in [
            "sk-proj-abc123DEF456ghi789",
            "ghp_0123456789abcdefghijABCDEFGHIJ",
            "github_pat_11ABCDEFG0123456789_abcdefghijklmnop",
            "AKIAIOSFODNN7EXAMPLE",
            "Bearer 0123456789abcdef",
            "mgx_at_0123456789012345678901234567890123456789",
            jwt,
            pem,
        ] {
            for (before, after) in [("", ""), ("key=", "\n"), ("\"", "\","), ("é ", " é")] {
                assert_eq!(found(&format!("{before}{secret}{after}")), [secret], "{before:?} {after:?}");
            }
        }
        assert_eq!(found(&format!("a {jwt} b {jwt}")), [jwt, jwt]);
        let cut = find("-----BEGIN PRIVATE KEY-----\nabc", None).next().unwrap();
        assert_eq!(cut, Found { range: 0..31, rest: Some(Rest::Key(LONGEST - 4)) });
        assert_eq!(find(pem, None).next().unwrap().rest, None, "it has ended");
        assert_eq!(found("grep \"-----BEGIN PRIVATE KEY-----\"; ls"), ["-----BEGIN PRIVATE KEY-----"]);
    }

    #[test]
    fn what_only_begins_like_one_is_left() {
        for text in [
            "a task-for-somebody-with-2-hands-and-time",
            "sk-fading-circle-container-of-a-spinner",
            "sk-short1",
            "Bearer authentication-is-used-here",
            "eyJhbGciOiJFUzI1NiJ9 and more of it, 30 letters and so on",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "BAKIAIOSFODNN7EXAMPLE",
            "ghp_",
            "",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
