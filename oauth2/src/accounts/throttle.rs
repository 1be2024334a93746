//! Guessing is slowed down, for whoever guesses and for nobody else.
//!
//! What is counted is one account *from one address*, and one address. Whoever guesses at somebody's password is made to
//! wait; the person it belongs to signs in from elsewhere meanwhile. Nothing is counted for an account alone, because
//! that would let anybody lock anybody out.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::base::bounded_map::BoundedMap;

/// How much may be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleLimits {
    /// Wrong passwords for one account from one address, before each further one has to wait a minute or more.
    pub failures_before_delay: u32,
    /// Wrong passwords in a row for one account from one address, before nothing but a new password helps.
    pub failures_before_lock: u32,
    /// Wrong passwords from one address in a minute, whatever the account.
    pub failures_per_address_per_minute: u32,
    /// The longest wait.
    pub max_delay: SignedDuration,
    /// How many accounts and addresses are kept count of, at most. Those that were quiet longest are forgotten first.
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

/// Slows guessing down.
#[derive(Debug)]
pub struct Throttle {
    limits: ThrottleLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    pairs: BoundedMap<(String, IpAddr), FailureStreak>,
    /// When each address, going on at the full rate, would have guessed as often as it has (GCRA).
    addresses: BoundedMap<IpAddr, Timestamp>,
}

/// Wrong passwords in a row.
#[derive(Clone, Copy, Debug)]
struct FailureStreak {
    length: u32,
    last: Timestamp,
}

/// One attempt, which counts as wrong until it is known to be right.
#[derive(Debug)]
#[must_use]
pub struct Attempt {
    account: String,
    address: IpAddr,
    /// How many in a row this one makes.
    pub in_a_row: u32,
}

/// Why nothing is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    /// Come back after so long.
    Wait(SignedDuration),
    /// This account cannot be guessed at from there any more, until it has a new password.
    Locked,
}

impl Throttled {
    /// What somebody is told to wait, who may be locked out: `longest`, and no promise that it helps.
    pub(crate) fn wait(self, longest: SignedDuration) -> SignedDuration {
        match self {
            Self::Wait(wait) => wait,
            Self::Locked => longest,
        }
    }
}

impl Throttle {
    /// Nobody has guessed yet.
    pub fn new(limits: ThrottleLimits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    /// Whether `account` may be tried from `address` now. It counts at once: a thousand that come together are a
    /// thousand, not one.
    ///
    /// # Errors
    /// [`Throttled`].
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

    /// The password was right: nothing is held against anybody.
    pub fn right(&self, attempt: Attempt) {
        let mut counts = self.lock();
        counts.pairs.remove(&(attempt.account, attempt.address));
        self.refund(&mut counts, attempt.address);
    }

    /// It could not be tried.
    pub fn undone(&self, attempt: Attempt) {
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

    /// The account has a new password.
    pub fn forgive(&self, account: &str) {
        self.lock().pairs.retain(|(name, _)| name != account);
    }

    fn refund(&self, counts: &mut Counts, address: IpAddr) {
        if let Some(arrival) = counts.addresses.get(&address).copied() {
            let arrival = arrival.saturating_sub(self.interval()).unwrap_or(Timestamp::MIN);
            counts.addresses.put(address, arrival, self.limits.max_entries);
        }
    }

    /// How long after the last of so many wrong passwords the next may be tried: 1, 2, 4, … minutes.
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

/// What one person can have addresses of: an IPv4 address, or the first half of an IPv6 address.
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

    /// How many of `count` attempts are let through.
    fn tried(throttle: &Throttle, account: &str, from: &str, now: i64, count: usize) -> usize {
        (0..count).filter(|_| throttle.begin(account, ip(from), at(now)).is_ok()).count()
    }

    #[test]
    fn ten_thousand_guesses_are_five_and_their_victim_signs_in_meanwhile() {
        let throttle = Throttle::new(ThrottleLimits::default());
        assert_eq!(tried(&throttle, "ann", "10.0.0.1", 0, 10_000), 5);
        assert_eq!(throttle.begin("ann", ip("10.0.0.1"), at(59)).unwrap_err(), wait(1));
        let hers = throttle.begin("ann", ip("10.0.0.2"), at(0)).unwrap();
        throttle.right(hers);
        assert_eq!(
            throttle.begin("ann", ip("10.0.0.1"), at(30)).unwrap_err(),
            wait(30),
            "which helps nobody else"
        );
        assert!(throttle.begin("bob", ip("10.0.0.1"), at(30)).is_ok());
    }

    #[test]
    fn the_wait_grows_and_ends_in_a_lock_that_a_new_password_opens() {
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
        throttle.forgive("ann");
        assert!(throttle.begin("ann", ip("10.0.0.1"), at(now * 2)).is_ok());
    }

    #[test]
    fn an_address_has_a_rate_whatever_it_guesses_at() {
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
        assert_eq!(spray(64, "::ffff:10.0.0.2"), 0, "the same address in other clothes");
    }

    #[test]
    fn people_who_sign_in_rightly_are_not_counted() {
        let throttle = Throttle::new(ThrottleLimits::default());
        for _ in 0..1000 {
            let attempt = throttle.begin("ann", ip("10.0.0.1"), at(0)).unwrap();
            throttle.right(attempt);
        }
        for _ in 0..1000 {
            let attempt = throttle.begin("ann", ip("10.0.0.1"), at(0)).unwrap();
            throttle.undone(attempt);
        }
    }

    #[test]
    fn who_was_quiet_longest_is_forgotten_first() {
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
