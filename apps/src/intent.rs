//! An intent: a request that is to be done once, written down before it is done, together with the ids of what it
//! will make. Whoever is asked again, even by the next process, makes the same things and not other ones.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_protocol::{JobId, SessionId};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Builder;

use crate::session::StoreError;
use crate::staged::hex;

/// What names an intent: a hash, so that every key is of one size and none can be read in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentKey(pub [u8; 32]);

/// A request that is to be done once.
#[derive(Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its name.
    pub key: IntentKey,
    /// What is asked for, as a hash: the same name for something else is a mistake.
    pub fingerprint: [u8; 32],
    /// When it was first asked for, in whole milliseconds.
    pub at: Timestamp,
    /// Random: with `at`, what the ids of everything that it makes are derived from.
    pub seed: [u8; 16],
    /// What was answered; nothing as long as it is not known to be done.
    pub answer: Option<Vec<u8>>,
}

/// What became of a wish to do something once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is written down: go ahead.
    New,
    /// It was written down before, like this.
    Known(Intent),
    /// No more can be remembered.
    Full,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntentBounds {
    /// Intents, answered or not.
    pub count: u64,
    /// Bytes of their answers.
    pub bytes: u64,
}

/// Durable intents. A write that has returned is durable.
#[async_trait]
pub trait IntentStore: Send + Sync + fmt::Debug {
    /// Writes `intent` down, unless one of its name is there that is not older than `since`.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn claim(
        &self,
        intent: &Intent,
        since: Timestamp,
        bounds: IntentBounds,
    ) -> Result<Claim, StoreError>;

    /// Keeps the answer to an intent. `false`: the intent is not there any more.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn answer(&self, intent: &Intent, answer: Vec<u8>) -> Result<bool, StoreError>;

    /// Forgets the oldest intents from before `since`, at most `limit`, and returns how many they were.
    ///
    /// # Errors
    /// The store cannot be written.
    async fn forget_intents(&self, since: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

impl IntentKey {
    /// The name made of `parts`; other parts, or the same ones cut elsewhere, make another name.
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(hash(parts))
    }
}

impl Intent {
    /// A new intent of now.
    ///
    /// # Errors
    /// The kernel gives no randomness.
    pub fn new(key: IntentKey, fingerprint: [u8; 32]) -> std::io::Result<Self> {
        let mut seed = [0; 16];
        let random = SystemRandom::new().fill(&mut seed);
        random.map_err(|_| std::io::Error::other("the kernel gives no randomness"))?;
        let now = Timestamp::now();
        let at = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        Ok(Self { key, fingerprint, at, seed, answer: None })
    }

    /// The id of the job number `index` that it makes: always the same one. A UUID version 7 (RFC 9562) of the
    /// moment of the intent, so that the jobs of one intent stand in line in the order in which they were asked for.
    pub fn job_id(&self, index: u16) -> JobId {
        let digest = hash(&[b"job", &self.seed, &index.to_be_bytes()]);
        let mut random: [u8; 10] = digest[..10].try_into().expect("ten bytes of thirty-two");
        // the twelve bits after the time
        [random[0], random[1]] = (index & 0x0fff).to_be_bytes();
        let millis = u64::try_from(self.at.as_millisecond()).unwrap_or(0);
        JobId(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The id of the session that it makes, if it may choose one: always the same one.
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

/// SHA-256 over parts that each begin with their length.
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
    fn an_intent_makes_the_same_things_every_time() {
        let (one, same, other) = (intent(1), intent(1), intent(2));
        assert_eq!((one.job_id(3), one.session_id()), (same.job_id(3), same.session_id()));
        assert_ne!(one.job_id(3), other.job_id(3));
        assert_ne!(one.session_id(), other.session_id());
        assert_ne!(Intent::new(one.key, [0; 32]).unwrap().seed, Intent::new(one.key, [0; 32]).unwrap().seed);
    }

    #[test]
    fn the_jobs_of_an_intent_stand_in_the_order_of_asking() {
        let one = intent(1);
        let ids: Vec<JobId> = (0..1000).map(|index| one.job_id(index)).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        let uuid = ids[7].0;
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        let (seconds, nanos) = uuid.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_700_000_000, 123));
    }

    #[test]
    fn parts_that_are_cut_elsewhere_make_another_name() {
        assert_ne!(IntentKey::of(&[b"ab", b"c"]), IntentKey::of(&[b"a", b"bc"]));
        assert_eq!(format!("{:?}", intent(1).key), "IntentKey(…)");
    }
}
