//! User codes of the device flow (RFC 8628 section 6.1), which the user types in a browser.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::random::RandomSource;

/// A user code: eight of 20 consonants, so that it spells no word and no letter is mistaken for another. It has 34
/// bits; guesses are throttled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserCode(String);

/// The text is not a user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user code has eight letters")]
pub struct BadUserCode;

const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

impl UserCode {
    /// A random code.
    pub fn new(random: &RandomSource) -> Self {
        // 20 does not divide 256: bytes from 240 on are discarded, so that all letters are equally likely
        let mut letters = String::with_capacity(8);
        while letters.len() < 8 {
            let fair = random.bytes::<16>().into_iter().filter(|byte| *byte < 240);
            letters.extend(fair.map(|byte| char::from(LETTERS[usize::from(byte % 20)])));
        }
        letters.truncate(8);
        Self(letters)
    }

    /// The eight letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserCode {
    type Err = BadUserCode;

    /// Accepts lower case, spaces and dashes.
    fn from_str(text: &str) -> Result<Self, BadUserCode> {
        if text.len() > 64 {
            return Err(BadUserCode);
        }
        let letters: String = text
            .chars()
            .filter(|letter| !matches!(letter, ' ' | '-'))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let fits = letters.len() == 8 && letters.bytes().all(|letter| LETTERS.contains(&letter));
        if fits { Ok(Self(letters)) } else { Err(BadUserCode) }
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0.split_at(4);
        write!(f, "{first}-{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spaces_and_dashes_do_not_matter() {
        let code = UserCode::new(&RandomSource::system());
        for typed in [code.to_string(), code.as_str().to_lowercase(), format!(" {code} ")] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        for bad in ["", "BCDF-GHJ", "BCDF-GHJA", "BCDF-GHJKL", "ÄCDFGHJ", &"B".repeat(100)] {
            assert_eq!(bad.parse::<UserCode>(), Err(BadUserCode), "{bad}");
        }
    }
}
