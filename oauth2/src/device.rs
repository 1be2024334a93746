//! The device flow (RFC 8628): a program without a browser asks, a person says yes in a browser elsewhere.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::grant::Grant;
use crate::ids::{ClientId, GrantId};
use crate::scope::Scope;
use crate::secret::{Chance, Digest};

/// A device that waits for somebody to say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Hash of the device code, which only the program knows.
    pub digest: Digest,
    /// What the person types.
    pub user_code: UserCode,
    /// Which client asks.
    pub client: ClientId,
    /// For what.
    pub scope: Scope,
    /// Until when.
    pub expires_at: Timestamp,
    /// How many seconds it has to leave between two polls.
    pub interval_s: u32,
    /// When it last polled.
    pub polled_at: Option<Timestamp>,
    /// What the person has said.
    pub decision: Decision,
}

/// What the person has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing yet.
    Pending,
    /// Yes.
    Allowed(GrantId),
    /// No.
    Denied,
}

/// What came of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Nobody has said anything yet.
    Pending,
    /// The program asks too often; from now on five seconds less often.
    SlowDown,
    /// Somebody said yes: the device is forgotten, and this is what it was given.
    Allowed(Box<Grant>),
    /// Somebody said no.
    Denied,
    /// It took too long.
    Expired,
    /// There is no such device, or it is another client's.
    Unknown,
}

/// What the person types: eight letters without vowels (RFC 8628 section 6.1), so that no words come out and none are
/// mistaken. 34 bits, and guessing is throttled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserCode(String);

/// What has been typed is no user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is eight letters")]
pub struct BadUserCode;

const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

impl UserCode {
    /// A new one.
    pub fn new(chance: &Chance) -> Self {
        // 20 does not divide 256: bytes above 240 are thrown away, so that no letter is more likely
        let mut letters = String::with_capacity(8);
        while letters.len() < 8 {
            let fair = chance.bytes::<16>().into_iter().filter(|byte| *byte < 240);
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

    /// As people type it: small letters, spaces and dashes do no harm.
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

/// What a poll means, before the grant is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// As [`Poll::Pending`].
    Pending,
    /// As [`Poll::SlowDown`].
    SlowDown,
    /// As [`Poll::Allowed`]: the store forgets the device and answers with this grant.
    Allowed(GrantId),
    /// As [`Poll::Denied`]: the store forgets the device.
    Denied,
    /// As [`Poll::Expired`].
    Expired,
    /// As [`Poll::Unknown`].
    Unknown,
}

impl Device {
    /// Polls: a store calls this in the transaction in which it writes the device back.
    pub fn poll(&mut self, client: &ClientId, now: Timestamp) -> Polled {
        if self.client != *client {
            return Polled::Unknown;
        }
        if now >= self.expires_at {
            return Polled::Expired;
        }
        let pause = SignedDuration::from_secs(self.interval_s.into());
        let early = self.polled_at.is_some_and(|before| now.duration_since(before) < pause);
        self.polled_at = Some(now);
        match self.decision {
            Decision::Allowed(grant) => Polled::Allowed(grant),
            Decision::Denied => Polled::Denied,
            Decision::Pending if early => {
                self.interval_s = (self.interval_s + 5).min(60);
                Polled::SlowDown
            }
            Decision::Pending => Polled::Pending,
        }
    }

    /// Whether somebody may still say yes or no.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.decision == Decision::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_type_it_as_they_like() {
        let code = UserCode::new(&Chance::system());
        for typed in [code.to_string(), code.as_str().to_lowercase(), format!(" {code} ")] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        for bad in ["", "BCDF-GHJ", "BCDF-GHJA", "BCDF-GHJKL", "ÄCDFGHJ", &"B".repeat(100)] {
            assert_eq!(bad.parse::<UserCode>(), Err(BadUserCode), "{bad}");
        }
    }
}
