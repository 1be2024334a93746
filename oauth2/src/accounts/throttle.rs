//! The limit on guessing passwords and codes.
//!
//! Failures are counted per pair of account and address, and per address. They are not counted per account: that would
//! let an attacker lock a user out, who can so still sign in from another address.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::base::bounded_map::BoundedMap;

/// The bounds of the throttle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Failures for one account from one address before each further attempt is delayed: by 1, 2, 4 … minutes.
    pub failures_before_delay: u32,
    /// Failures in a row for one account from one address before it is locked until the account has a new password.
    pub failures_before_lock: u32,
    /// Failures from one address per minute, for any accounts.
    pub failures_per_address_per_minute: u32,
    /// The longest delay.
    pub max_delay: SignedDuration,
    /// The most entries that are kept, of pairs and of addresses each; those that were written longest ago are
    /// dropped.
    pub max_entries: usize,
}

impl Default for ThrottleLimits {
    fn default() -> Self {
        Self {
            failures_before_delay: 5,
            failures_before_lock: 100,
            failures_per_address_per_minute: 20,
            max_delay: SignedDuration::from_mins(15),
            max_entries: 100_000,
        }
    }
}

/// Limits how fast passwords and codes can be guessed.
#[derive(Debug)]
pub struct Throttle {
    limits: ThrottleLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    pairs: BoundedMap<(String, IpAddr), FailureStreak>,
    /// The theoretical arrival time of each address's next attempt (GCRA, ITU-T I.371).
    addresses: BoundedMap<IpAddr, Timestamp>,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
struct FailureStreak {
    length: u32,
    last: Timestamp,
}

/// An attempt, which counts as a failure until [`Throttle::succeeded`] or [`Throttle::cancelled`] is called.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    account: String,
    address: IpAddr,
    /// The number of failures in a row, this attempt included.
    pub in_a_row: u32,
}

/// Why an attempt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// The attempt may be repeated after this time.
    Wait(SignedDuration),
    /// The account is locked for this address until it has a new password.
    Locked,
}

impl Throttled {
    /// The time to wait that the user is told; for a lock `longest`, so that it is not distinguishable.
    pub(crate) fn wait(self, longest: SignedDuration) -> SignedDuration {
        match self {
            Self::Wait(wait) => wait,
            Self::Locked => longest,
        }
    }
}

impl Throttle {
    /// A throttle without any failures.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    /// Begins an attempt for `account` from `address`. It is counted at once, so that concurrent attempts are counted
    /// too.
    ///
    /// # Errors
    /// [`Throttled`] if the attempt is refused; it is then not counted.
    pub fn begin(&self, account: &str, address: IpAddr, now: Timestamp) -> Result<Attempt, Throttled> {
        let (account, address) = (account.chars().take(64).collect::<String>(), network(address));
        let key = (account, address);
        let mut counts = self.lock();
        let streak = counts.pairs.get(&key).copied();
        if let Some(streak) = streak {
            if streak.length >= self.limits.failures_before_lock {
                return Err(Throttled::Locked);
            }
            let wait = self.pause(streak.length) - now.duration_since(streak.last);
            if wait.is_positive() {
                return Err(Throttled::Wait(wait));
            }
        }
        let arrival = counts.addresses.get(&address).copied().unwrap_or(now).max(now);
        let spare = self.interval()
            * i32::try_from(self.limits.failures_per_address_per_minute.saturating_sub(1))
                .unwrap_or(i32::MAX);
        let wait = arrival.duration_since(now) - spare;
        if wait.is_positive() {
            return Err(Throttled::Wait(wait));
        }
        let in_a_row = streak.map_or(0, |streak| streak.length) + 1;
        counts.pairs.put(key.clone(), FailureStreak { length: in_a_row, last: now }, self.limits.max_entries);
        let arrival = arrival.saturating_add(self.interval()).unwrap_or(Timestamp::MAX);
        counts.addresses.put(address, arrival, self.limits.max_entries);
        let (account, address) = key;
        Ok(Attempt { account, address, in_a_row })
    }

    /// The attempt succeeded: clears the failures of its account and address.
    pub fn succeeded(&self, attempt: Attempt) {
        let mut counts = self.lock();
        counts.pairs.remove(&(attempt.account, attempt.address));
        self.refund(&mut counts, attempt.address);
    }

    /// The attempt could not be carried out: it is not counted.
    pub fn cancelled(&self, attempt: Attempt) {
        let mut counts = self.lock();
        let key = (attempt.account, attempt.address);
        if let Some(streak) = counts.pairs.get(&key).copied() {
            counts.pairs.put(
                key,
                FailureStreak { length: streak.length.saturating_sub(1), ..streak },
                self.limits.max_entries,
            );
        }
        self.refund(&mut counts, attempt.address);
    }

    /// Clears the failures of an account, from all addresses.
    pub fn clear_account(&self, account: &str) {
        self.lock().pairs.retain(|(name, _)| name != account);
    }

    fn refund(&self, counts: &mut Counts, address: IpAddr) {
        if let Some(arrival) = counts.addresses.get(&address).copied() {
            let arrival = arrival.saturating_sub(self.interval()).unwrap_or(Timestamp::MIN);
            counts.addresses.put(address, arrival, self.limits.max_entries);
        }
    }

    /// The delay after `length` failures in a row: 1, 2, 4 … minutes.
    fn pause(&self, length: u32) -> SignedDuration {
        match length.checked_sub(self.limits.failures_before_delay) {
            None => SignedDuration::ZERO,
            Some(more) => (SignedDuration::from_mins(1) * (1 << more.min(10))).min(self.limits.max_delay),
        }
    }

    fn interval(&self) -> SignedDuration {
        SignedDuration::from_mins(1)
            / i32::try_from(self.limits.failures_per_address_per_minute.max(1)).unwrap_or(i32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network that one subscriber controls: an IPv4 address, or the /64 prefix of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wait(seconds: i64) -> Throttled {
        Throttled::Wait(SignedDuration::from_secs(seconds))
    }

    /// The number of `count` attempts that are permitted.
    fn tried(throttle: &Throttle, account: &str, from: &str, now: i64, count: usize) -> usize {
        (0..count).filter(|_| throttle.begin(account, ip(from), at(now)).is_ok()).count()
    }

    #[test]
    fn of_ten_thousand_guesses_five_are_permitted_and_the_user_can_still_sign_in() {
        let throttle = Throttle::new(ThrottleLimits::default());
        assert_eq!(tried(&throttle, "ann", "10.0.0.1", 0, 10_000), 5);
        assert_eq!(throttle.begin("ann", ip("10.0.0.1"), at(59)).unwrap_err(), wait(1));
        let hers = throttle.begin("ann", ip("10.0.0.2"), at(0)).unwrap();
        throttle.succeeded(hers);
        assert_eq!(
            throttle.begin("ann", ip("10.0.0.1"), at(30)).unwrap_err(),
            wait(30),
            "a success from another address does not shorten it"
        );
        assert!(throttle.begin("bob", ip("10.0.0.1"), at(30)).is_ok());
    }

    #[test]
    fn the_delay_grows_up_to_a_lock_that_a_new_password_removes() {
        let throttle = Throttle::new(ThrottleLimits::default());
        assert_eq!(tried(&throttle, "ann", "10.0.0.1", 0, 5), 5);
        let mut now = 0;
        let mut waits = Vec::new();
        while let Err(Throttled::Wait(wait)) = throttle.begin("ann", ip("10.0.0.1"), at(now)).map(drop) {
            waits.push(wait.as_secs() / 60);
            now += wait.as_secs();
            assert!(throttle.begin("ann", ip("10.0.0.1"), at(now)).is_ok());
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 15, 15]);
        assert_eq!(waits.len(), 95, "a hundred in all");
        assert_eq!(throttle.begin("ann", ip("10.0.0.1"), at(now * 2)).unwrap_err(), Throttled::Locked);
        assert!(throttle.begin("ann", ip("10.0.0.2"), at(now)).is_ok(), "from elsewhere it is open");
        throttle.clear_account("ann");
        assert!(throttle.begin("ann", ip("10.0.0.1"), at(now * 2)).is_ok());
    }

    #[test]
    fn an_address_is_limited_for_all_accounts_together() {
        let throttle = Throttle::new(ThrottleLimits::default());
        let spray = |now, from: &str| {
            (0..100)
                .filter(|user| throttle.begin(&format!("{now}-{user}"), ip(from), at(now)).is_ok())
                .count()
        };
        assert_eq!(spray(0, "10.0.0.1"), 20);
        assert_eq!(spray(3, "10.0.0.1"), 1);
        assert_eq!(spray(63, "10.0.0.1"), 20);
        assert_eq!(spray(63, "10.0.0.2"), 20);
        assert_eq!(spray(70, "2001:db8:1:2::1"), 20);
        assert_eq!(spray(70, "2001:db8:1:2:ffff::9"), 0, "the same network");
        assert_eq!(spray(70, "2001:db8:1:3::1"), 20);
        assert_eq!(spray(64, "::ffff:10.0.0.2"), 0, "the same address, mapped to IPv6");
    }

    #[test]
    fn successful_attempts_are_not_counted() {
        let throttle = Throttle::new(ThrottleLimits::default());
        for _ in 0..1000 {
            let attempt = throttle.begin("ann", ip("10.0.0.1"), at(0)).unwrap();
            throttle.succeeded(attempt);
        }
        for _ in 0..1000 {
            let attempt = throttle.begin("ann", ip("10.0.0.1"), at(0)).unwrap();
            throttle.cancelled(attempt);
        }
    }

    #[test]
    fn the_entries_written_longest_ago_are_dropped_first() {
        let throttle = Throttle::new(ThrottleLimits {
            max_entries: 4,
            failures_per_address_per_minute: 1000,
            ..ThrottleLimits::default()
        });
        assert_eq!(tried(&throttle, "ann", "10.0.0.1", 0, 9), 5);
        for user in 0..20 {
            assert_eq!(tried(&throttle, &user.to_string(), "10.0.0.1", 0, 1), 1);
        }
        let counts = throttle.lock();
        assert!(counts.pairs.len() <= 4);
    }
}
