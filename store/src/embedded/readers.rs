//! The readers: a few read-only connections, used on threads that may block.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::embedded::connection::open_for_reading;
use crate::error::Failure;

/// How many queries may run at once.
const MAX_READERS: usize = 4;

/// How long a query waits for a connection, and how long a connection waits for a lock of SQLite.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Read-only connections. Each query sees every write that was acknowledged before the query began.
#[derive(Debug)]
pub(crate) struct Readers {
    permits: Arc<Semaphore>,
    connections: Arc<Connections>,
}

#[derive(Debug)]
struct Connections {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the store at `path`, connected when they are first needed.
    pub(crate) fn new(path: PathBuf) -> Self {
        let connections = Connections { path, idle: Mutex::default() };
        Self { permits: Arc::new(Semaphore::new(MAX_READERS)), connections: Arc::new(connections) }
    }

    /// Runs `query` on a connection that no other query uses meanwhile.
    pub(crate) async fn read<T, F>(&self, query: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = match timeout(READ_TIMEOUT, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| Failure::closed())?,
            Err(_) => return Err(Failure::Unavailable("too many queries are running".into())),
        };
        let connections = Arc::clone(&self.connections);
        let read = tokio::task::spawn_blocking(move || {
            let connection = connections.take()?;
            let answer = query(&connection)?;
            connections.idle().push(connection);
            drop(permit);
            Ok::<T, rusqlite::Error>(answer)
        });
        match read.await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Unavailable("a query has panicked".into())),
        }
    }

    /// Refuses further queries.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.connections.idle().clear();
    }
}

impl Connections {
    fn take(&self) -> rusqlite::Result<Connection> {
        match self.idle().pop() {
            Some(connection) => Ok(connection),
            None => open_for_reading(&self.path, READ_TIMEOUT),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
