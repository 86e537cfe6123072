//! The engine: open, read, write. SQLite by default, PostgreSQL for several nodes; nothing outside this folder knows
//! which. One text of each statement serves both (`$1` places, `ON CONFLICT … RETURNING`).
//!
//! Statements are synchronous and run off the async threads: SQLite's own calls block anyway, and a plain closure over
//! a transaction is easier to read, to retry and to prove than an async one. On SQLite one writer thread gathers the
//! writes that wait into one commit; on PostgreSQL each write has a session.
//!
//! - [`value`]: arguments and rows
//! - [`sqlite`], [`postgres`]: the two engines
//! - [`migrate`]: the numbered schema

mod migrate;
mod postgres;
mod sqlite;
mod value;

pub use value::{Arg, FromValue, Row, Value};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Where the state lives.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of the embedded engine.
    Sqlite {
        /// The database file; its lock file stands beside it.
        file: PathBuf,
        /// False only for the control run of the power-cut test: loses acknowledged writes in a power cut.
        durable: bool,
    },
    /// A connection string, with an optional schema.
    Postgres {
        /// As the engine's own tools take it.
        url: String,
        /// Created if absent.
        schema: Option<String>,
    },
}

impl std::fmt::Debug for Location {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite { file, durable } => write!(f, "Sqlite({}, durable: {durable})", file.display()),
            Self::Postgres { schema, .. } => write!(f, "Postgres(schema: {schema:?})"),
        }
    }
}

/// Why a statement or a commit failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be reached, is full or is broken; nothing of the transaction is kept.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Two transactions were in each other's way; the same again may work.
    #[error("the transaction must run again: {0}")]
    Conflict(String),
    /// A unique constraint, by its name (PostgreSQL) or its columns (SQLite).
    #[error("not unique: {0}")]
    NotUnique(String),
    /// The database is not one this program can work with.
    #[error("{0}")]
    Unusable(String),
    /// A statement is wrong: a defect.
    #[error("statement failed: {0}")]
    Defect(String),
}

/// An error type that may hold one of the store's.
pub trait StoreFailure: From<Error> {
    /// The store's error, if it is one.
    fn store_error(&self) -> Option<&Error>;
}

impl StoreFailure for Error {
    fn store_error(&self) -> Option<&Error> {
        Some(self)
    }
}

/// What became of a write.
#[derive(Debug)]
pub enum Written<T, E> {
    /// It is durable, and the closure given for that has run.
    Committed(T),
    /// Nothing of it is kept.
    Aborted(E),
    /// It may or may not be kept, and that can't be found out now.
    Unknown,
}

/// A question that has an answer exactly if a certain write was committed.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Waits until no transaction of the same workspace is under way.
    pub lock: (&'static str, Vec<Arg>),
    /// Returns a row if the write is there.
    pub find: (&'static str, Vec<Arg>),
}

/// A value that a write produces and that can prove the write.
pub trait Provable {
    /// The question, if the write can be proved at all.
    fn proof(&self) -> Option<Proof>;
}

impl Provable for () {
    fn proof(&self) -> Option<Proof> {
        None
    }
}

/// An open store.
pub struct Store {
    engine: Engine,
    outcomes: Arc<[AtomicU64; 3]>,
}

enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

/// A transaction under way. Every statement's text is static; values travel as arguments only.
pub struct Tx<'a>(Session<'a>);

enum Session<'a> {
    Sqlite(&'a rusqlite::Connection),
    Postgres(&'a mut postgres::Session),
}

impl Store {
    /// Opens a store and brings its schema up to date. Fails on a schema newer than this program's.
    pub async fn open(location: &Location) -> Result<Self, Error> {
        let engine = match location.clone() {
            Location::Sqlite { file, durable } => {
                let open = move || sqlite::Sqlite::open(&file, durable);
                let opened = tokio::task::spawn_blocking(open).await;
                Engine::Sqlite(opened.map_err(|panic| Error::Defect(panic.to_string()))??)
            }
            Location::Postgres { url, schema } => {
                Engine::Postgres(postgres::Postgres::open(&url, schema.as_deref()).await?)
            }
        };
        Ok(Self { engine, outcomes: Arc::default() })
    }

    /// Opens a store that a server may have open, to read it. The schema is left as it is.
    pub fn open_to_examine(location: &Location) -> Result<Self, Error> {
        let engine = match location.clone() {
            Location::Sqlite { file, .. } => Engine::Sqlite(sqlite::Sqlite::open_to_examine(&file)?),
            Location::Postgres { url, schema } => {
                Engine::Postgres(postgres::Postgres::open_to_examine(&url, schema.as_deref())?)
            }
        };
        Ok(Self { engine, outcomes: Arc::default() })
    }

    /// Runs `work` on one consistent snapshot.
    pub async fn read<T, E>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.read(work).await,
            Engine::Postgres(postgres) => postgres.read(work).await,
        }
    }

    /// Like [`Store::read`], for the one reader that must not wait behind others: the follower of the change log.
    pub async fn read_ahead<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.read(work).await,
            Engine::Postgres(postgres) => postgres.read_ahead(work).await,
        }
    }

    /// Runs `work` in a transaction, again if the engine asks for it, and commits. `committed` runs once, in the order
    /// of the commits, before anybody hears of it, also when the caller has gone away meanwhile.
    pub async fn write<T, E>(
        &self,
        work: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Written<T, E>
    where
        T: Provable + Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        let outcomes = self.outcomes.clone();
        // Commits are counted where they happen, also if the caller goes away meanwhile.
        let committed = move |value: &T| {
            outcomes[0].fetch_add(1, Ordering::Relaxed);
            committed(value);
        };
        let written = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.write(work, committed).await,
            Engine::Postgres(postgres) => postgres.write(work, committed).await,
        };
        match &written {
            Written::Committed(_) => {}
            Written::Aborted(_) => drop(self.outcomes[1].fetch_add(1, Ordering::Relaxed)),
            Written::Unknown => drop(self.outcomes[2].fetch_add(1, Ordering::Relaxed)),
        }
        written
    }

    /// How many writes were committed, how many aborted, and of how many neither is known.
    pub fn outcomes(&self) -> [u64; 3] {
        [0, 1, 2].map(|place: usize| self.outcomes[place].load(Ordering::Relaxed))
    }

    /// Whether other nodes may write to the same store, so that the change log must be followed.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Becomes true when the store has failed in a way that only a restart can mend.
    pub fn broken(&self) -> watch::Receiver<bool> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.broken(),
            Engine::Postgres(postgres) => postgres.broken(),
        }
    }

    /// What the engine itself has to say against its files; empty if nothing.
    pub async fn check(&self) -> Result<Vec<String>, Error> {
        match &self.engine {
            // A complete scan of the b-trees; PostgreSQL has no like of it without an extension.
            Engine::Sqlite(sqlite) => sqlite
                .read(|tx| tx.all("PRAGMA integrity_check", &[], |row| row.get(0)))
                .await
                .map(|rows: Vec<String>| rows.into_iter().filter(|row| row != "ok").collect()),
            Engine::Postgres(_) => Ok(Vec::new()),
        }
    }
}

impl Tx<'_> {
    /// Runs a statement and returns how many rows it touched.
    pub fn run(&mut self, sql: &'static str, args: &[Arg]) -> Result<u64, Error> {
        match &mut self.0 {
            Session::Sqlite(connection) => sqlite::run(connection, sql, args),
            Session::Postgres(session) => session.run(sql, args),
        }
    }

    /// Hands each row of a query to `take`.
    pub fn each<E: From<Error>>(
        &mut self,
        sql: &'static str,
        args: &[Arg],
        take: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.0 {
            Session::Sqlite(connection) => sqlite::each(connection, sql, args, take),
            Session::Postgres(session) => session.each(sql, args, take),
        }
    }

    /// All rows of a query.
    pub fn all<T>(
        &mut self,
        sql: &'static str,
        args: &[Arg],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut rows = Vec::new();
        self.each(sql, args, |row| -> Result<(), Error> {
            rows.push(read(&row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// The first row of a query, if any.
    pub fn maybe<T>(
        &mut self,
        sql: &'static str,
        args: &[Arg],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        Ok(self.all(sql, args, read)?.into_iter().next())
    }

    /// The one row of a query.
    pub fn one<T>(
        &mut self,
        sql: &'static str,
        args: &[Arg],
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.maybe(sql, args, read)?.ok_or_else(|| Error::Defect(format!("no row: {sql}")))
    }
}
