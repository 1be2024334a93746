//! Passwords: hashed with argon2id, so many at a time as there are cores, and as slowly for users who do not exist.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use crate::hasher::Hasher;
use crate::secret::Chance;
use crate::user::PasswordHash;
use crate::weakness::{Rules, Weakness};

/// What a hash costs. The default is OWASP's floor for argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// 19 MiB, twice, in one lane.
    pub const OWASP: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
}

/// How many may wait for their turn. Each waits for a fraction of a second.
const WAITING: usize = 256;

/// How long somebody waits for their turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Passwords {
    hasher: Arc<Hasher>,
    rules: Rules,
    chance: Chance,
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
    /// Stands in for the hash of a user who does not exist.
    nobody: PasswordHash,
}

/// What came of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It is the password.
    Right,
    /// It is the password, and its hash is of another cost: this is the new one.
    Rehashed(PasswordHash),
    /// It is not.
    Wrong,
}

/// Too many sign in at once. Try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many people sign in at once")]
pub struct Busy;

/// A cost that argon2 does not have. Whoever sets it chooses another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argon2 has no such cost: at least 8 KiB for each lane, one pass and one lane")]
pub struct BadCost;

impl Passwords {
    /// Hashes at `cost`, `cores` at a time.
    ///
    /// # Errors
    /// [`BadCost`].
    pub fn new(cost: Cost, rules: Rules, cores: usize, chance: Chance) -> Result<Self, BadCost> {
        let hasher = Hasher::new(cost)?;
        let nobody = hasher.hash(&chance.text(), chance.bytes()).ok_or(BadCost)?;
        hasher.rest();
        let (turns, room) = (Arc::new(Semaphore::new(cores.max(1))), Arc::new(Semaphore::new(WAITING)));
        Ok(Self { hasher: Arc::new(hasher), rules, chance, turns, room, nobody })
    }

    /// Whether somebody may have this password.
    ///
    /// # Errors
    /// [`Weakness`] says what is wrong with it.
    pub fn check(&self, password: &str, name: &str) -> Result<(), Weakness> {
        self.rules.check(&normal(password), name)
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, Busy> {
        let (password, salt) = (normal(password), self.chance.bytes());
        self.work(move |hasher| hasher.hash(&password, salt)).await?.ok_or(Busy)
    }

    /// Compares, in the same time whoever it is: `None` is a user who does not exist or has no password.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn verify(&self, password: &str, hash: Option<&PasswordHash>) -> Result<Verified, Busy> {
        if password.chars().count() > self.rules.longest {
            return Ok(Verified::Wrong);
        }
        let known = hash.cloned();
        let stored = known.clone().unwrap_or_else(|| self.nobody.clone());
        let normal = normal(password);
        let right = self.work(move |hasher| hasher.verify(&normal, &stored)).await?;
        match known {
            Some(known) if right && self.hasher.is_current(&known) => Ok(Verified::Right),
            Some(_) if right => Ok(Verified::Rehashed(self.hash(password).await?)),
            Some(_) | None => Ok(Verified::Wrong),
        }
    }

    /// Does something that takes a core and 19 MiB, when there is a turn.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hasher) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let room = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let hasher = Arc::clone(&self.hasher);
        let worked = tokio::task::spawn_blocking(move || {
            let done = work(&hasher);
            // given back by the work, not by whoever waits for it and may be gone
            drop(turn);
            done
        });
        let done = worked.await.map_err(|_| Busy);
        drop(room);
        if self.room.available_permits() == WAITING {
            self.hasher.rest();
        }
        done
    }
}

/// As RFC 8265 section 4.2 compares passwords: the same letters are the same, however they were typed.
fn normal(password: &str) -> String {
    password.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn passwords(cost: Cost) -> Passwords {
        Passwords::new(cost, Rules::default(), 2, Chance::system()).unwrap()
    }

    #[tokio::test]
    async fn only_the_password_is_right_and_an_old_hash_is_renewed() {
        let ours = passwords(CHEAP);
        let hash = ours.hash("correct horse battery").await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.as_str());
        assert_eq!(ours.verify("correct horse battery", Some(&hash)).await, Ok(Verified::Right));
        for wrong in ["", "correct horse battery ", "Correct horse battery", "\0", &"x".repeat(10_000)] {
            assert_eq!(ours.verify(wrong, Some(&hash)).await, Ok(Verified::Wrong), "{wrong:?}");
        }
        assert_eq!(ours.verify("correct horse battery", None).await, Ok(Verified::Wrong));

        let dearer = passwords(Cost { memory_kib: 16, ..CHEAP });
        let Ok(Verified::Rehashed(new)) = dearer.verify("correct horse battery", Some(&hash)).await else {
            panic!("not renewed")
        };
        assert!(new.as_str().contains("m=16"));
        assert_eq!(dearer.verify("correct horse battery", Some(&new)).await, Ok(Verified::Right));
        assert_eq!(format!("{new:?}"), "PasswordHash(…)");
    }

    #[tokio::test]
    async fn the_same_letters_are_the_same_however_they_were_typed() {
        let ours = passwords(CHEAP);
        let hash = ours.hash("caf\u{e9} au lait, please").await.unwrap();
        assert_eq!(ours.verify("cafe\u{301} au lait, please", Some(&hash)).await, Ok(Verified::Right));
    }

    #[test]
    fn the_default_is_the_floor_of_owasp() {
        assert_eq!(Cost::OWASP, Cost { memory_kib: 19_456, passes: 2, lanes: 1 });
        assert!(
            Passwords::new(
                Cost { memory_kib: 1, passes: 1, lanes: 1 },
                Rules::default(),
                1,
                Chance::system()
            )
            .is_err()
        );
    }
}
