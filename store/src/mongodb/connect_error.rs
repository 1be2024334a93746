//! Why a store on a MongoDB server could not be opened.

/// Why a store on a MongoDB server could not be opened. The operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not valid.
    #[error("store.url is not the address of a MongoDB server: {0}")]
    Address(String),
    /// The server does not answer, or refuses.
    #[error("the MongoDB server at {hosts} cannot be used: {reason}")]
    Unreachable {
        /// The hosts of the address.
        hosts: String,
        /// The message of the driver.
        reason: String,
    },
    /// The server is not part of a replica set.
    #[error(
        "the MongoDB server at {0} has no transactions: make it a replica set, if only of one (--replSet, then rs.initiate())"
    )]
    NoTransactions(String),
    /// A newer version of the platform has written the database.
    #[error(
        "the database {database} has schema {found}, and this version of mgx knows schemas up to {supported}: start the newer version"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its schema.
        found: u64,
        /// The newest schema that this binary knows.
        supported: u64,
    },
    /// The database has collections of the same names that another program has created.
    #[error("the database {0} belongs to another program: name another one in store.database")]
    Foreign(String),
    /// A copy into the database was not finished.
    #[error(
        "a migration into the database {0} was not finished: run it again, and it starts from the beginning"
    )]
    HalfMigrated(String),
}
