//! Rooms: how many jobs may wait, in all and of each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Whose places are all taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueScope {
    /// All jobs that wait.
    Everyone,
    /// Those of the user who asked.
    User,
}

/// Room for so many jobs, and no more. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rooms(Arc<Inner>);

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

/// The room of one job that waits; there again when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    rooms: Rooms,
    user: Arc<str>,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) scope: QueueScope,
    pub(crate) limit: usize,
    pub(crate) used: usize,
}

impl Rooms {
    /// Room for `everyone` jobs, of which one user may take up `user`.
    pub(crate) fn new(everyone: usize, user: usize) -> Self {
        Self(Arc::new(Inner { everyone, user, taken: Mutex::default() }))
    }

    /// Takes up room for a job of `user`.
    pub(crate) fn take(&self, user: &str) -> Result<Room, Full> {
        let taken = self.lock();
        let full = |scope, limit, used| if used < limit { Ok(()) } else { Err(Full { scope, limit, used }) };
        full(QueueScope::Everyone, self.0.everyone, taken.everyone)?;
        full(QueueScope::User, self.0.user, taken.users.get(user).copied().unwrap_or(0))?;
        Ok(self.enter(taken, user))
    }

    /// The same for a job that waits already, even if there is none left.
    pub(crate) fn overdraw(&self, user: &str) -> Room {
        self.enter(self.lock(), user)
    }

    fn enter(&self, mut taken: MutexGuard<'_, Taken>, user: &str) -> Room {
        taken.everyone += 1;
        let user = taken.users.get_key_value(user).map_or_else(|| user.into(), |(user, _)| user.clone());
        *taken.users.entry(user.clone()).or_default() += 1;
        Room { rooms: self.clone(), user }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().expect("nothing panics while it holds this lock")
    }
}

impl Room {
    /// Whose job it is: the same text for all that wait, however many they are.
    pub(crate) fn user(&self) -> &Arc<str> {
        &self.user
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.rooms.lock();
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
    fn a_flood_of_one_user_leaves_room_for_others() {
        let rooms = Rooms::new(3, 2);
        let (first, second) = (rooms.take("flood").unwrap(), rooms.take("flood").unwrap());
        let full = Full { scope: QueueScope::User, limit: 2, used: 2 };
        assert_eq!(rooms.take("flood").unwrap_err(), full);
        let guest = rooms.take("guest").unwrap();
        let full = Full { scope: QueueScope::Everyone, limit: 3, used: 3 };
        assert_eq!(rooms.take("guest").unwrap_err(), full);
        drop(first);
        assert!(Arc::ptr_eq(rooms.take("flood").unwrap().user(), second.user()));
        drop((second, guest));
        let taken = rooms.lock();
        assert_eq!((taken.everyone, taken.users.len()), (0, 0));
    }

    #[test]
    fn what_waits_already_is_let_in_and_counts() {
        let rooms = Rooms::new(1, 1);
        let waiting = [rooms.overdraw("a"), rooms.overdraw("a")];
        assert_eq!(rooms.take("b").unwrap_err().used, 2);
        drop(waiting);
        assert!(rooms.take("b").is_ok());
    }
}
