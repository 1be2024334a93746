//! An intent: a request that is to be carried out once, stored before it is carried out, with a seed from which the ids
//! of everything that it creates are derived.

use std::fmt;

use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use mgx_workspaces::hex;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Builder;

/// The key of an intent: a hash, so that all keys have one size and the text of none is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentKey(pub [u8; 32]);

/// A request that is to be carried out once.
#[derive(Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its key.
    pub key: IntentKey,
    /// A hash of the request: the same key with another request is a mistake of the caller.
    pub fingerprint: [u8; 32],
    /// When it was first requested, in whole milliseconds.
    pub at: Timestamp,
    /// Random: the ids of everything that it creates are derived from this and `at`.
    pub seed: [u8; 16],
    /// The answer; `None` as long as it is not known to be carried out.
    pub answer: Option<Vec<u8>>,
}

impl IntentKey {
    /// The key made of `parts`. Other parts, or the same bytes divided into other parts, make another key.
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(hash(parts))
    }
}

impl Intent {
    /// A new intent with the current time and a random seed.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn new(key: IntentKey, fingerprint: [u8; 32]) -> std::io::Result<Self> {
        let mut seed = [0; 16];
        let random = SystemRandom::new().fill(&mut seed);
        random.map_err(|_| std::io::Error::other("the kernel gives no random bytes"))?;
        let now = Timestamp::now();
        let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        Ok(Self { key, fingerprint, at, seed, answer: None })
    }

    /// The id of job number `index` that it creates: always the same one. A UUID version 7 (RFC 9562) with the time of
    /// the intent, so that the jobs of one intent are queued in the order in which they were requested.
    pub fn job_id(&self, index: u16) -> JobId {
        let digest = hash(&[b"job", &self.seed, &index.to_be_bytes()]);
        let mut random: [u8; 10] = digest[..10].try_into().expect("ten bytes of thirty-two");
        // the twelve bits after the time
        [random[0], random[1]] = (index & 0x0fff).to_be_bytes();
        let millis = u64::try_from(self.at.as_millisecond()).unwrap_or(0);
        JobId(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The id of the session that it creates, if the request names none: always the same one.
    pub fn session_id(&self) -> SessionId {
        let digest = hash(&[b"session", &self.seed]);
        hex(&digest[..6]).parse().expect("hexadecimal digits are a session id")
    }
}

impl fmt::Debug for IntentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntentKey(…)")
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered = self.answer.is_some();
        f.debug_struct("Intent").field("at", &self.at).field("answered", &answered).finish_non_exhaustive()
    }
}

/// SHA-256 over parts, each preceded by its length.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(seed: u8) -> Intent {
        Intent {
            key: IntentKey::of(&[b"a"]),
            fingerprint: [0; 32],
            at: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
            seed: [seed; 16],
            answer: None,
        }
    }

    #[test]
    fn an_intent_always_creates_the_same_ids() {
        let (one, same, other) = (intent(1), intent(1), intent(2));
        assert_eq!((one.job_id(3), one.session_id()), (same.job_id(3), same.session_id()));
        assert_ne!(one.job_id(3), other.job_id(3));
        assert_ne!(one.session_id(), other.session_id());
        assert_ne!(Intent::new(one.key, [0; 32]).unwrap().seed, Intent::new(one.key, [0; 32]).unwrap().seed);
    }

    #[test]
    fn the_job_ids_of_an_intent_are_in_the_order_of_the_request() {
        let one = intent(1);
        let ids: Vec<JobId> = (0..1000).map(|index| one.job_id(index)).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        let uuid = ids[7].0;
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, nanos) = uuid.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }

    #[test]
    fn the_same_bytes_in_other_parts_make_another_key() {
        assert_ne!(IntentKey::of(&[b"ab", b"c"]), IntentKey::of(&[b"a", b"bc"]));
        assert_eq!(format!("{:?}", intent(1).key), "IntentKey(…)");
    }
}
