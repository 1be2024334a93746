//! How many jobs may wait for a slot, in all and of each user.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;

/// Which limit of the queue is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueScope {
    /// All jobs that wait for a slot.
    Everyone,
    /// The jobs of the user who submitted that wait for a slot.
    User,
    /// All jobs that start later.
    EveryoneLater,
    /// The jobs of the user who submitted that start later.
    UserLater,
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

/// Jobs that start later are counted apart: they take no place of those that wait for a slot.
#[derive(Debug, Default)]
struct Taken {
    now: Counts,
    later: Counts,
    /// When jobs that start later do, each with a number of its own.
    starts: BTreeMap<(Timestamp, u64), Arc<str>>,
    last_start: u64,
}

#[derive(Debug, Default)]
struct Counts {
    everyone: usize,
    users: HashMap<Arc<str>, usize>,
}

/// The right of one job to wait; returned when it is dropped.
#[derive(Debug)]
pub(crate) struct QueuePermit {
    permits: QueuePermits,
    user: Arc<str>,
    /// Its key in `starts`, if its job starts later; boxed, for most jobs have none and many wait.
    start: Option<Box<(Timestamp, u64)>>,
}

/// A limit of the queue is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull {
    pub(crate) scope: QueueScope,
    pub(crate) limit: usize,
    pub(crate) used: usize,
    /// When the first of the jobs that use the limit up starts, if they start later.
    pub(crate) first_start: Option<Timestamp>,
}

impl QueuePermits {
    /// Permits for `everyone` jobs, of which one user may hold `user`; and for as many that start later.
    pub(crate) fn new(everyone: usize, user: usize) -> Self {
        Self(Arc::new(Inner { everyone, user, taken: Mutex::default() }))
    }

    /// A permit for a job of `user`, which waits for a slot from `start` on, if that is not now.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn acquire(&self, user: &str, start: Option<Timestamp>) -> Result<QueuePermit, QueueFull> {
        let taken = self.lock();
        let (counts, of_all, of_user) = match start {
            Some(_) => (&taken.later, QueueScope::EveryoneLater, QueueScope::UserLater),
            None => (&taken.now, QueueScope::Everyone, QueueScope::User),
        };
        let mut later = taken.starts.iter();
        let full = if counts.everyone >= self.0.everyone {
            let first_start = start.and_then(|_| later.next());
            Some((of_all, self.0.everyone, counts.everyone, first_start))
        } else {
            let of_this_user = counts.users.get(user).copied().unwrap_or(0);
            let mut first = || start.and_then(|_| later.find(|(_, name)| ***name == *user));
            (of_this_user >= self.0.user).then(|| (of_user, self.0.user, of_this_user, first()))
        };
        match full {
            Some((scope, limit, places, first)) => {
                Err(QueueFull { scope, limit, used: places, first_start: first.map(|((at, _), _)| *at) })
            }
            None => Ok(self.add(taken, user, start)),
        }
    }

    /// The same for a job that was accepted by an earlier process, even beyond the limits.
    pub(crate) fn acquire_unchecked(&self, user: &str, start: Option<Timestamp>) -> QueuePermit {
        self.add(self.lock(), user, start)
    }

    fn add(&self, mut taken: MutexGuard<'_, Taken>, user: &str, start: Option<Timestamp>) -> QueuePermit {
        let Taken { now, later, starts, last_start } = &mut *taken;
        let user = match start {
            Some(_) => later.add(user),
            None => now.add(user),
        };
        let start = start.map(|at| {
            *last_start += 1;
            starts.insert((at, *last_start), user.clone());
            Box::new((at, *last_start))
        });
        QueuePermit { permits: self.clone(), user, start }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().expect("nothing panics while it holds this lock")
    }
}

impl Counts {
    /// Adds a job; all jobs of a user share one copy of the name.
    fn add(&mut self, user: &str) -> Arc<str> {
        self.everyone += 1;
        let user = self.users.get_key_value(user).map_or_else(|| user.into(), |(user, _)| user.clone());
        *self.users.entry(user.clone()).or_default() += 1;
        user
    }

    fn remove(&mut self, user: &Arc<str>) {
        self.everyone = self.everyone.saturating_sub(1);
        if let Some(of_user) = self.users.get_mut(user) {
            *of_user -= 1;
            if *of_user == 0 {
                self.users.remove(user);
            }
        }
    }
}

impl QueuePermit {
    /// The user of the job; all waiting jobs of a user share one copy of the name.
    pub(crate) fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// The job's time has come: it waits for a slot from now on, even beyond the limits.
    pub(crate) fn start(&mut self) {
        if let Some(start) = self.start.take() {
            let mut taken = self.permits.lock();
            taken.starts.remove(&start);
            taken.later.remove(&self.user);
            taken.now.add(&self.user);
        }
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        let mut taken = self.permits.lock();
        match &self.start {
            Some(start) => {
                taken.starts.remove(start);
                taken.later.remove(&self.user);
            }
            None => taken.now.remove(&self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_fill_the_queue() {
        let permits = QueuePermits::new(3, 2);
        let (first, second) =
            (permits.acquire("flood", None).unwrap(), permits.acquire("flood", None).unwrap());
        let full = QueueFull { scope: QueueScope::User, limit: 2, used: 2, first_start: None };
        assert_eq!(permits.acquire("flood", None).unwrap_err(), full);
        let guest = permits.acquire("guest", None).unwrap();
        let full = QueueFull { scope: QueueScope::Everyone, limit: 3, used: 3, first_start: None };
        assert_eq!(permits.acquire("guest", None).unwrap_err(), full);
        drop(first);
        assert!(Arc::ptr_eq(permits.acquire("flood", None).unwrap().user(), second.user()));
        drop((second, guest));
        let taken = permits.lock();
        assert_eq!((taken.now.everyone, taken.now.users.len()), (0, 0));
    }

    #[test]
    fn jobs_accepted_before_a_restart_count_even_beyond_the_limit() {
        let permits = QueuePermits::new(1, 1);
        let waiting = [permits.acquire_unchecked("a", None), permits.acquire_unchecked("a", None)];
        assert_eq!(permits.acquire("b", None).unwrap_err().used, 2);
        drop(waiting);
        assert!(permits.acquire("b", None).is_ok());
    }

    #[test]
    fn jobs_that_start_later_take_no_place_of_those_that_wait_now() {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        let permits = QueuePermits::new(2, 2);
        let mut later = permits.acquire("a", at(50)).unwrap();
        let other = permits.acquire("a", at(40)).unwrap();
        let full = permits.acquire("b", at(60)).unwrap_err();
        assert_eq!((full.scope, full.first_start), (QueueScope::EveryoneLater, at(40)));
        let now = permits.acquire("b", None).unwrap();
        later.start();
        assert_eq!(permits.acquire("b", None).unwrap_err().used, 2, "it waits for a slot now");
        assert!(permits.acquire("b", at(60)).is_ok());
        drop((later, other, now));
        let taken = permits.lock();
        assert_eq!((taken.now.everyone, taken.later.everyone, taken.starts.len()), (0, 0, 0));
    }
}
