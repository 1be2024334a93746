//! The schema as the list of its migrations: each runs once, completely or not at all.

use rusqlite::{Connection, TransactionBehavior};

use crate::embedded::open_error::OpenError;

/// Every migration, oldest first. New ones are added at the end: existing stores have run the others.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
];

/// `PRAGMA application_id` of stores of this platform: "MGXS".
const APPLICATION: i64 = 0x4D47_5853;

/// Why a database cannot be migrated.
#[derive(Debug)]
pub(crate) enum SchemaError {
    /// A newer binary has written it: its schema, and the newest schema that this binary knows.
    Newer(i64, usize),
    /// Another program has written it.
    Foreign,
    /// It cannot be read or written.
    Sqlite(rusqlite::Error),
}

/// Checks, before anything is changed, that the database is new or of this platform, and not newer than this binary. Whether
/// it is new.
pub(crate) fn check(connection: &Connection, migrations: &[&str]) -> Result<bool, SchemaError> {
    let (application, version, tables): (i64, i64, i64) = connection.query_row(
        "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
         FROM pragma_application_id a, pragma_user_version v",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let is_new = (application, version, tables) == (0, 0, 0);
    if application != APPLICATION && !is_new {
        return Err(SchemaError::Foreign);
    }
    if usize::try_from(version).is_ok_and(|version| version <= migrations.len()) {
        Ok(is_new)
    } else {
        Err(SchemaError::Newer(version, migrations.len()))
    }
}

/// Runs the migrations that the database has not run. Each one's transaction also sets the version, so a process that
/// ends in between leaves the database complete at one of the versions.
pub(crate) fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), SchemaError> {
    let current: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1_i64..).zip(migrations).filter(|(version, _)| *version > current) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        tracing::info!(version, "store migrated");
    }
    Ok(())
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl SchemaError {
    /// The error of opening the store at `path`.
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
    fn a_store_that_is_up_to_date_is_not_changed() {
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

    /// A query that reads every row gets slower with every job that was ever run.
    #[test]
    fn no_query_of_the_hot_path_scans_a_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, MIGRATIONS).unwrap();
        let hot = crate::embedded::tables::journal::HOT
            .into_iter()
            .chain(crate::embedded::tables::intents::HOT)
            .chain(crate::embedded::tables::archive::HOT);
        for sql in hot.chain(crate::embedded::tables::accounts::hot()) {
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
