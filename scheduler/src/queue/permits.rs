//! How many jobs may wait for a slot, in all and of each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which limit of the queue is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueScope {
    /// All jobs that wait.
    Everyone,
    /// The waiting jobs of the user who submitted.
    User,
}

/// The bounds of the queue, and how many jobs of each user wait. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct QueuePermits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    everyone: usize,
    user: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    everyone: usize,
    users: HashMap<Arc<str>, usize>,
}

/// The right of one job to wait in the queue; returned when it is dropped.
#[derive(Debug)]
pub(crate) struct QueuePermit {
    permits: QueuePermits,
    user: Arc<str>,
}

/// A limit of the queue is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull {
    pub(crate) scope: QueueScope,
    pub(crate) limit: usize,
    pub(crate) used: usize,
}

impl QueuePermits {
    /// Permits for `everyone` jobs, of which one user may hold `user`.
    pub(crate) fn new(everyone: usize, user: usize) -> Self {
        Self(Arc::new(Inner { everyone, user, taken: Mutex::default() }))
    }

    /// A permit for a job of `user`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn acquire(&self, user: &str) -> Result<QueuePermit, QueueFull> {
        let taken = self.lock();
        let check =
            |scope, limit, used| if used < limit { Ok(()) } else { Err(QueueFull { scope, limit, used }) };
        check(QueueScope::Everyone, self.0.everyone, taken.everyone)?;
        check(QueueScope::User, self.0.user, taken.users.get(user).copied().unwrap_or(0))?;
        Ok(self.add(taken, user))
    }

    /// The same for a job that was accepted by an earlier process, even beyond the limits.
    pub(crate) fn acquire_unchecked(&self, user: &str) -> QueuePermit {
        self.add(self.lock(), user)
    }

    fn add(&self, mut taken: MutexGuard<'_, Taken>, user: &str) -> QueuePermit {
        taken.everyone += 1;
        let user = taken.users.get_key_value(user).map_or_else(|| user.into(), |(user, _)| user.clone());
        *taken.users.entry(user.clone()).or_default() += 1;
        QueuePermit { permits: self.clone(), user }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().expect("nothing panics while it holds this lock")
    }
}

impl QueuePermit {
    /// The user of the job; all waiting jobs of a user share one copy of the name.
    pub(crate) fn user(&self) -> &Arc<str> {
        &self.user
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        let mut taken = self.permits.lock();
        taken.everyone = taken.everyone.saturating_sub(1);
        if let Some(of_user) = taken.users.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                taken.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_fill_the_queue() {
        let permits = QueuePermits::new(3, 2);
        let (first, second) = (permits.acquire("flood").unwrap(), permits.acquire("flood").unwrap());
        let full = QueueFull { scope: QueueScope::User, limit: 2, used: 2 };
        assert_eq!(permits.acquire("flood").unwrap_err(), full);
        let guest = permits.acquire("guest").unwrap();
        let full = QueueFull { scope: QueueScope::Everyone, limit: 3, used: 3 };
        assert_eq!(permits.acquire("guest").unwrap_err(), full);
        drop(first);
        assert!(Arc::ptr_eq(permits.acquire("flood").unwrap().user(), second.user()));
        drop((second, guest));
        let taken = permits.lock();
        assert_eq!((taken.everyone, taken.users.len()), (0, 0));
    }

    #[test]
    fn jobs_accepted_before_a_restart_count_even_beyond_the_limit() {
        let permits = QueuePermits::new(1, 1);
        let waiting = [permits.acquire_unchecked("a"), permits.acquire_unchecked("a")];
        assert_eq!(permits.acquire("b").unwrap_err().used, 2);
        drop(waiting);
        assert!(permits.acquire("b").is_ok());
    }
}
