//! The embedded store as the source and the target of a copy.

pub(crate) mod snapshot;

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use mgx_scheduler::Event;
use rusqlite::{Connection, Row, params};
use tokio::sync::mpsc;

use crate::embedded::Embedded;
use crate::embedded::columns::{count, from_json, number, to_json};
use crate::embedded::tables::{accounts, intents, journal, sessions};
use crate::migrate::{Part, Record, Source, Target};

/// An embedded store that is being filled, under a temporary name.
#[derive(Debug)]
pub struct EmbeddedTarget {
    store: Embedded,
    temporary: PathBuf,
    path: PathBuf,
}

impl EmbeddedTarget {
    /// Begins a store at `path` for the platform `instance`. The files of an earlier attempt are removed.
    ///
    /// # Errors
    /// There is a file at `path`, or none can be created.
    pub async fn begin(path: &Path, instance: &str) -> Result<Self, String> {
        if path.exists() {
            return Err(format!("{} is there already: name another file, or move it away", path.display()));
        }
        let temporary = with_suffix(path, ".migrating");
        for suffix in ["", "-wal", "-shm"] {
            remove(&with_suffix(&temporary, suffix))?;
        }
        let store = Embedded::open(&temporary, Timestamp::now()).map_err(|error| error.to_string())?;
        let instance = instance.to_owned();
        let named = store
            .writer
            .write(move |db| db.execute("UPDATE meta SET value = ?1 WHERE name = 'instance'", [&instance]));
        named.await.map_err(|failure| format!("{failure:?}"))?;
        Ok(Self { store, temporary, path: path.to_owned() })
    }
}

#[async_trait]
impl Source for Embedded {
    fn instance(&self) -> &str {
        Self::instance(self)
    }

    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String> {
        let read = self.readers.read(move |db| export(db, part, &out)).await;
        read.map_err(|failure| format!("cannot read the store: {failure:?}"))
    }
}

#[async_trait]
impl Source for EmbeddedTarget {
    fn instance(&self) -> &str {
        self.store.instance()
    }

    async fn export(&self, part: Part, out: mpsc::Sender<Record>) -> Result<(), String> {
        self.store.export(part, out).await
    }
}

#[async_trait]
impl Target for EmbeddedTarget {
    async fn import(&mut self, records: Vec<Record>) -> Result<(), String> {
        let written =
            self.store.writer.write(move |db| records.iter().try_for_each(|record| import(db, record)));
        written.await.map_err(|failure| format!("cannot write the store: {failure:?}"))
    }

    async fn complete(self: Box<Self>) -> Result<(), String> {
        let Self { store, temporary, path } = *self;
        store.close().await;
        drop(store);
        // closing the last connection has moved the write-ahead log into the database
        if with_suffix(&temporary, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
            return Err(format!("{} was not closed cleanly", temporary.display()));
        }
        remove(&with_suffix(&temporary, ".lock"))?;
        fs::rename(&temporary, &path)
            .map_err(|error| format!("cannot name the store {}: {error}", path.display()))
    }
}

type ReadRecord = Box<dyn Fn(&Row<'_>) -> rusqlite::Result<Record>>;

fn export(db: &Connection, part: Part, out: &mpsc::Sender<Record>) -> rusqlite::Result<()> {
    let (sql, record): (&str, ReadRecord) = match part {
        Part::Sessions => {
            (sessions::IN_ORDER, Box::new(|row| Ok(Record::Session(Box::new(sessions::session(row)?)))))
        }
        Part::Jobs => (
            "SELECT body FROM jobs ORDER BY id",
            Box::new(|row| Ok(Record::Job(Box::new(from_json(row, 0)?)))),
        ),
        Part::Events => (
            "SELECT seq, at, session, job, attempt, kind, agent, data, source FROM events ORDER BY session, seq",
            Box::new(|row| {
                let has_source = row.get::<_, Option<i64>>(8)?.is_some();
                let source = if has_source { Some(count(row, 8)?) } else { None };
                Ok(Record::Event(Box::new(journal::event(row)?), source))
            }),
        ),
        Part::Messages => (
            "SELECT seq, at, session, job, attempt, 'message_complete', agent, data FROM messages ORDER BY session, seq",
            Box::new(|row| Ok(Record::Message(Box::new(journal::event(row)?)))),
        ),
        Part::Intents => (
            "SELECT key, fingerprint, at, seed, answer FROM intents ORDER BY number",
            Box::new(|row| Ok(Record::Intent(Box::new(intents::intent_of(row)?)))),
        ),
        Part::Accounts(part) => {
            let (sql, account) = accounts::records::query(part);
            (sql, Box::new(move |row| Ok(Record::Account(Box::new(account(row)?)))))
        }
    };
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if out.blocking_send(record(row)?).is_err() {
            // the receiver has failed and returns its own error
            return Ok(());
        }
    }
    Ok(())
}

fn import(db: &Connection, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Session(session) => sessions::insert(db, session).map(drop),
        Record::Job(job) => journal::put_job(db, job, &to_json(job)?, true),
        Record::Event(event, source) => {
            let Event { seq, at, session, job, attempt, kind, agent, data } = &**event;
            let data = to_json(data)?;
            let source = source.map(number).transpose()?;
            let row = params![
                session.as_str(),
                number(*seq)?,
                at,
                job.0,
                attempt.0,
                source,
                kind.as_str(),
                agent,
                data
            ];
            db.prepare_cached(journal::ADD_EVENT)?.execute(row).map(drop)
        }
        Record::Message(message) => {
            let Event { seq, at, session, job, attempt, kind: _, agent, data } = &**message;
            let row = params![session.as_str(), number(*seq)?, at, job.0, attempt.0, agent, to_json(data)?];
            db.prepare_cached(sessions::ADD_MESSAGE)?.execute(row).map(drop)
        }
        Record::Intent(intent) => intents::insert(db, intent),
        Record::Account(account) => accounts::records::insert(db, account),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
