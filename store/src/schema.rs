//! The schema, as the list of its migrations: each runs once, whole or not at all.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::OpenError;

/// Every migration, oldest first. Only ever add to the end: stores out there have run the others.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// `PRAGMA application_id` of our stores: "MGXS".
const APPLICATION: i64 = 0x4D47_5853;

/// Why a database cannot be brought up to date.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// A newer binary has written it: this one knows its schema only up to the second number.
    Newer(i64, usize),
    /// Another program has written it.
    Foreign,
    /// It cannot be read or written.
    Sqlite(rusqlite::Error),
}

/// Checks, before anything is changed, that the database is new or one of ours, and not newer than we are.
pub(crate) fn check(connection: &Connection, migrations: &[&str]) -> Result<(), Unfit> {
    let (application, version, tables): (i64, i64, i64) = connection.query_row(
        "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
         FROM pragma_application_id a, pragma_user_version v",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let is_new = (application, version, tables) == (0, 0, 0);
    if application != APPLICATION && !is_new {
        return Err(Unfit::Foreign);
    }
    if usize::try_from(version).is_ok_and(|version| version <= migrations.len()) {
        Ok(())
    } else {
        Err(Unfit::Newer(version, migrations.len()))
    }
}

/// Runs the migrations that the database has not seen. The version is part of each one's transaction, so a process
/// that dies on the way leaves the database at some version, complete.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), Unfit> {
    let seen: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1_i64..).zip(migrations).filter(|(version, _)| *version > seen) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        tracing::info!(version, "store migrated");
    }
    Ok(())
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Unfit {
    /// The same, for the operator, who knows the store by its path.
    pub(crate) fn at(self, path: &std::path::Path) -> OpenError {
        match self {
            Self::Newer(found, supported) => OpenError::Newer { path: path.to_owned(), found, supported },
            Self::Foreign => OpenError::Foreign { path: path.to_owned() },
            Self::Sqlite(error) => OpenError::sqlite(path, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_migration_that_fails_half_way_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = [MIGRATIONS[0], "CREATE TABLE half (x INTEGER); INSERT INTO nowhere VALUES (1);"];
        assert!(migrate(&mut connection, &broken).is_err());
        assert_eq!(version(&connection), 1, "the first migration stands");
        assert!(connection.prepare("SELECT * FROM half").is_err(), "the second left no trace");

        let mended = [MIGRATIONS[0], "CREATE TABLE half (x INTEGER);"];
        migrate(&mut connection, &mended).unwrap();
        assert_eq!(version(&connection), 2);
    }

    #[test]
    fn a_store_that_is_up_to_date_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        let instance = |db: &Connection| {
            db.query_row("SELECT value FROM meta WHERE name = 'instance'", [], |row| row.get::<_, String>(0))
                .unwrap()
        };
        migrate(&mut connection, MIGRATIONS).unwrap();
        let before = instance(&connection);
        check(&connection, MIGRATIONS).unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        assert_eq!(instance(&connection), before);
    }

    /// A query that has to look at every row gets slower with every job that was ever run.
    #[test]
    fn no_query_of_the_hot_path_scans_a_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let hot = crate::journal::HOT.into_iter().chain(crate::intents::HOT).chain(crate::archive::HOT);
        for sql in hot.chain(crate::accounts::hot()) {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let mut rows = statement.raw_query();
            let mut steps = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                steps.push(row.get::<_, String>(3).unwrap());
            }
            assert!(!steps.is_empty(), "{sql}");
            let slow = |step: &&String| {
                step.contains("TEMP B-TREE")
                    || step.starts_with("SCAN ")
                        && !step.ends_with("INDEX jobs_unfinished")
                        && !step.ends_with("CONSTANT ROW")
            };
            assert_eq!(steps.iter().find(slow), None, "{sql}");
        }
    }
}
