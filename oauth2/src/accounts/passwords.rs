//! Passwords: hashed with argon2id, a bounded number at a time, and equally slowly for unknown users.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

use crate::accounts::hasher::{Argon2Cost, BadCost, Hasher};
use crate::accounts::password_rules::{PasswordRules, WeakPassword};
use crate::accounts::user::PasswordHash;
use crate::base::error::OAuthError;
use crate::base::random::RandomSource;

/// The most passwords that may be hashed or wait for it at a time.
const MAX_QUEUED: usize = 256;

/// The longest wait for a free core.
const MAX_QUEUE_WAIT: Duration = Duration::from_secs(10);

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Passwords {
    hasher: Arc<Hasher>,
    rules: PasswordRules,
    random: RandomSource,
    cores: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Verified instead of the hash of an unknown user, so that both take as long.
    dummy_hash: PasswordHash,
}

/// The result of verifying a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is correct.
    Correct,
    /// The password is correct, and its hash was made at another cost. The new hash is to be stored.
    Rehashed(PasswordHash),
    /// The password is wrong, or there is none.
    Wrong,
}

/// Too many passwords are being hashed at a time. The caller may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being verified at once")]
pub struct Busy;

impl From<Busy> for OAuthError {
    fn from(_: Busy) -> Self {
        Self::unavailable("too many passwords are being verified at once")
    }
}

impl Passwords {
    /// Hashes at `cost`, at most `cores` passwords at a time.
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

    /// Checks a new password of the user `name` against the rules.
    ///
    /// # Errors
    /// [`WeakPassword`] names the rule that it breaks.
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

    /// Compares a password with `hash`, in the same time for `None`: a user who does not exist or has no password.
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

    /// Runs `work`, which takes a core and the memory of one hash, on a blocking thread as soon as a core is free.
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
            // returned by the work itself: the task that waits for it may have been cancelled
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

/// Normalises a password for comparison (RFC 8265 section 4.2): composed and decomposed letters are equal.
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
    async fn only_the_right_password_is_accepted_and_an_old_hash_is_renewed() {
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
    async fn composed_and_decomposed_letters_are_equal() {
        let ours = passwords(CHEAP);
        let hash = ours.hash("caf\u{e9} au lait, please").await.unwrap();
        assert_eq!(ours.verify("cafe\u{301} au lait, please", Some(&hash)).await, Ok(PasswordCheck::Correct));
    }

    #[test]
    fn the_default_cost_is_the_minimum_of_owasp() {
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
