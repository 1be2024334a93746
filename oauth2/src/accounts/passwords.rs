//! Passwords: hashed with argon2id, so many at a time as there are cores, and as slowly for users who do not exist.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use crate::accounts::hasher::{Argon2Cost, BadCost, Hasher};
use crate::accounts::password_rules::{PasswordRules, WeakPassword};
use crate::accounts::user::PasswordHash;
use crate::base::error::OAuthError;
use crate::base::random::RandomSource;

/// How many may wait for their turn. Each waits for a fraction of a second.
const MAX_QUEUED: usize = 256;

/// How long somebody waits for their turn.
const MAX_QUEUE_WAIT: Duration = Duration::from_secs(10);

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Passwords {
    hasher: Arc<Hasher>,
    rules: PasswordRules,
    random: RandomSource,
    cores: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Stands in for the hash of a user who does not exist.
    dummy_hash: PasswordHash,
}

/// What came of comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// It is the password.
    Correct,
    /// It is the password, and its hash is of another cost: this is the new one.
    Rehashed(PasswordHash),
    /// It is not.
    Wrong,
}

/// Too many sign in at once. Try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many people sign in at once")]
pub struct Busy;

impl From<Busy> for OAuthError {
    fn from(_: Busy) -> Self {
        Self::unavailable("too many people sign in at once")
    }
}

impl Passwords {
    /// Hashes at `cost`, `cores` at a time.
    ///
    /// # Errors
    /// [`BadCost`].
    pub fn new(
        cost: Argon2Cost,
        rules: PasswordRules,
        cores: usize,
        random: RandomSource,
    ) -> Result<Self, BadCost> {
        let hasher = Hasher::new(cost)?;
        let dummy_hash = hasher.hash(&random.text(), random.bytes()).ok_or(BadCost)?;
        hasher.free_memory();
        let (cores, queue) = (Arc::new(Semaphore::new(cores.max(1))), Arc::new(Semaphore::new(MAX_QUEUED)));
        Ok(Self { hasher: Arc::new(hasher), rules, random, cores, queue, dummy_hash })
    }

    /// Whether somebody may have this password.
    ///
    /// # Errors
    /// [`WeakPassword`] says what is wrong with it.
    pub fn check(&self, password: &str, name: &str) -> Result<(), WeakPassword> {
        self.rules.check(&normal(password), name)
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn hash(&self, password: &str) -> Result<PasswordHash, Busy> {
        let (password, salt) = (normal(password), self.random.bytes());
        self.work(move |hasher| hasher.hash(&password, salt)).await?.ok_or(Busy)
    }

    /// Compares, in the same time whoever it is: `None` is a user who does not exist or has no password.
    ///
    /// # Errors
    /// [`Busy`].
    pub async fn verify(&self, password: &str, hash: Option<&PasswordHash>) -> Result<PasswordCheck, Busy> {
        if password.chars().count() > self.rules.max_chars {
            return Ok(PasswordCheck::Wrong);
        }
        let known = hash.cloned();
        let stored = known.clone().unwrap_or_else(|| self.dummy_hash.clone());
        let normal = normal(password);
        let right = self.work(move |hasher| hasher.verify(&normal, &stored)).await?;
        match known {
            Some(known) if right && self.hasher.is_current(&known) => Ok(PasswordCheck::Correct),
            Some(_) if right => Ok(PasswordCheck::Rehashed(self.hash(password).await?)),
            Some(_) | None => Ok(PasswordCheck::Wrong),
        }
    }

    /// Does something that takes a core and 19 MiB, when there is a turn.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hasher) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let queue = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Busy)?;
        let turn = tokio::time::timeout(MAX_QUEUE_WAIT, Arc::clone(&self.cores).acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let hasher = Arc::clone(&self.hasher);
        let worked = tokio::task::spawn_blocking(move || {
            let done = work(&hasher);
            // given back by the work, not by whoever waits for it and may be gone
            drop(turn);
            done
        });
        let done = worked.await.map_err(|_| Busy);
        drop(queue);
        if self.queue.available_permits() == MAX_QUEUED {
            self.hasher.free_memory();
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

    const CHEAP: Argon2Cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn passwords(cost: Argon2Cost) -> Passwords {
        Passwords::new(cost, PasswordRules::default(), 2, RandomSource::system()).unwrap()
    }

    #[tokio::test]
    async fn only_the_password_is_right_and_an_old_hash_is_renewed() {
        let ours = passwords(CHEAP);
        let hash = ours.hash("correct horse battery").await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.as_str());
        assert_eq!(ours.verify("correct horse battery", Some(&hash)).await, Ok(PasswordCheck::Correct));
        for wrong in ["", "correct horse battery ", "Correct horse battery", "\0", &"x".repeat(10_000)] {
            assert_eq!(ours.verify(wrong, Some(&hash)).await, Ok(PasswordCheck::Wrong), "{wrong:?}");
        }
        assert_eq!(ours.verify("correct horse battery", None).await, Ok(PasswordCheck::Wrong));

        let dearer = passwords(Argon2Cost { memory_kib: 16, ..CHEAP });
        let Ok(PasswordCheck::Rehashed(new)) = dearer.verify("correct horse battery", Some(&hash)).await
        else {
            panic!("not renewed")
        };
        assert!(new.as_str().contains("m=16"));
        assert_eq!(dearer.verify("correct horse battery", Some(&new)).await, Ok(PasswordCheck::Correct));
        assert_eq!(format!("{new:?}"), "PasswordHash(…)");
    }

    #[tokio::test]
    async fn the_same_letters_are_the_same_however_they_were_typed() {
        let ours = passwords(CHEAP);
        let hash = ours.hash("caf\u{e9} au lait, please").await.unwrap();
        assert_eq!(ours.verify("cafe\u{301} au lait, please", Some(&hash)).await, Ok(PasswordCheck::Correct));
    }

    #[test]
    fn the_default_is_the_floor_of_owasp() {
        assert_eq!(Argon2Cost::OWASP, Argon2Cost { memory_kib: 19_456, passes: 2, lanes: 1 });
        assert!(
            Passwords::new(
                Argon2Cost { memory_kib: 1, passes: 1, lanes: 1 },
                PasswordRules::default(),
                1,
                RandomSource::system()
            )
            .is_err()
        );
    }
}
