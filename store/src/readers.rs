//! The readers: a few read-only connections, used from threads that may block.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::embedded::stable_plans;
use crate::error::Trouble;

/// How many may read at once.
const READERS: usize = 4;

/// How long a query waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// Read-only connections. Each query sees everything that was acknowledged before it began.
#[derive(Debug)]
pub(crate) struct Readers {
    turns: Arc<Semaphore>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the store at `path`, connected when they are first needed.
    pub(crate) fn new(path: PathBuf) -> Self {
        let pool = Pool { path, idle: Mutex::default() };
        Self { turns: Arc::new(Semaphore::new(READERS)), pool: Arc::new(pool) }
    }

    /// Runs `query` on a connection of its own.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let turn = match timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(turn) => turn.map_err(|_| Trouble::Unavailable("the store is closed".into()))?,
            Err(_) => return Err(Trouble::Unavailable("too many are reading".into())),
        };
        let pool = Arc::clone(&self.pool);
        let read = tokio::task::spawn_blocking(move || {
            let connection = pool.take()?;
            let answer = query(&connection)?;
            pool.idle().push(connection);
            drop(turn);
            Ok::<T, rusqlite::Error>(answer)
        });
        match read.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Trouble::Unavailable("a query has panicked".into())),
        }
    }

    /// Lets nobody read any more.
    pub(crate) fn close(&self) {
        self.turns.close();
        self.pool.idle().clear();
    }
}

impl Pool {
    fn take(&self) -> rusqlite::Result<Connection> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        stable_plans(&connection)?;
        connection.execute_batch("PRAGMA cache_size = -1024; PRAGMA cell_size_check = ON;")?;
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
