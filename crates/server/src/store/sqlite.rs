//! The embedded engine: WAL, `synchronous=FULL`, one writer thread, a few readers.
//!
//! Group commit: while one commit waits for the disk, the writes that arrive queue up, and the next transaction takes
//! them all, each in a savepoint of its own so that a refused one takes no other with it.

use super::migrate::{Dialect, migrate};
use super::{Arg, Error, Provable, Row, Session, StoreFailure, Tx, Value, Written};
use rusqlite::{Connection, ErrorCode, OpenFlags, types::ValueRef};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::{Semaphore, oneshot, watch};

/// Before this version two connections that write and checkpoint at once could corrupt the file (fixed in 3.51.3).
const OLDEST: i32 = 3_051_003;
const READERS: usize = 4;
/// Most writes in one commit: bounds how long the first of them waits for the last.
const LARGEST_GROUP: usize = 256;

const DIALECT: Dialect =
    Dialect { int: "INTEGER", bytes: "BLOB", bool: "INTEGER", strict: "STRICT", keyed: "STRICT, WITHOUT ROWID" };

/// An open database file.
pub(super) struct Sqlite {
    queue: mpsc::Sender<Job>,
    readers: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    broken: watch::Receiver<bool>,
    /// Held for as long as the store is open, so that no second server opens the same file.
    _lock: Option<File>,
}

/// A write that waits for its turn. Returns what to do once the fate of the commit is known.
type Job = Box<dyn FnOnce(&Connection) -> Finish + Send>;
type Finish = Box<dyn FnOnce(&Fate) + Send>;

/// How a group's commit ended.
enum Fate {
    Committed,
    Aborted(String),
    Unknown,
}

impl Sqlite {
    pub(super) fn open(file: &Path, durable: bool) -> Result<Self, Error> {
        if rusqlite::version_number() < OLDEST {
            return Err(Error::Unusable(format!(
                "SQLite {} can corrupt its files; 3.51.3 is needed",
                rusqlite::version()
            )));
        }
        let lock = lock_file(file)?;
        create_private(file)?;
        let writer = connect(file, durable)?;
        writer.execute_batch("BEGIN IMMEDIATE").map_err(failure)?;
        let script = |tx: &mut Tx<'_>, script: &str| match &tx.0 {
            Session::Sqlite(connection) => connection.execute_batch(script).map_err(failure),
            Session::Postgres(_) => unreachable!("this is the other engine's session"),
        };
        migrate(&mut Tx(Session::Sqlite(&writer)), &DIALECT, script)?;
        writer.execute_batch("COMMIT").map_err(failure)?;
        let readers = (0..READERS).map(|_| connect(file, durable)).collect::<Result<_, _>>()?;
        let (queue, jobs) = mpsc::channel();
        let (fail, broken) = watch::channel(false);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_groups(&writer, &jobs, &fail))
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self {
            queue,
            readers: Arc::new(Mutex::new(readers)),
            permits: Arc::new(Semaphore::new(READERS)),
            broken,
            _lock: Some(lock),
        })
    }

    /// Beside a running server: takes no lock and writes nothing.
    pub(super) fn open_to_examine(file: &Path) -> Result<Self, Error> {
        let readers = (0..READERS).map(|_| connect(file, true)).collect::<Result<_, _>>()?;
        // Nobody takes jobs from this queue, so a write finds the store closed.
        let (queue, _) = mpsc::channel();
        let (_, broken) = watch::channel(false);
        Ok(Self {
            queue,
            readers: Arc::new(Mutex::new(readers)),
            permits: Arc::new(Semaphore::new(READERS)),
            broken,
            _lock: None,
        })
    }

    pub(super) fn broken(&self) -> watch::Receiver<bool> {
        self.broken.clone()
    }

    pub(super) async fn read<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| gone())?;
        let readers = self.readers.clone();
        let run = move || {
            let _permit = permit;
            let taken = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = taken.ok_or_else(|| Error::Defect("a permit without a reader".into()))?;
            let result = connection.execute_batch("BEGIN").map_err(failure).map_err(E::from).and_then(|()| {
                // A panic must not take the reader with it: there are only a few.
                let worked = catch_unwind(AssertUnwindSafe(|| work(&mut Tx(Session::Sqlite(&connection)))));
                worked.unwrap_or_else(|_| Err(Error::Defect("a read panicked".into()).into()))
            });
            // Read-only: whether it is committed or rolled back makes no difference.
            let ended = connection.execute_batch("ROLLBACK").map_err(failure);
            readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            let value = result?;
            ended?;
            Ok(value)
        };
        tokio::task::spawn_blocking(run).await.map_err(|panic| Error::Defect(panic.to_string()))?
    }

    pub(super) async fn write<T, E>(
        &self,
        work: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Written<T, E>
    where
        T: Provable + Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = in_savepoint(connection, work);
            Box::new(move |fate| {
                let written = match (result, fate) {
                    (Ok(value), Fate::Committed) => {
                        committed(&value);
                        Written::Committed(value)
                    }
                    // Refused by its own rules, whatever became of the others in the group.
                    (Err(error), _) => Written::Aborted(error),
                    (Ok(_), Fate::Aborted(why)) => Written::Aborted(Error::Unavailable(why.clone()).into()),
                    (Ok(_), Fate::Unknown) => Written::Unknown,
                };
                // The caller may have gone away; the write stands all the same.
                drop(answer.send(written));
            })
        });
        if self.queue.send(job).is_err() {
            return Written::Aborted(gone().into());
        }
        answered.await.unwrap_or(Written::Unknown)
    }
}

fn gone() -> Error {
    Error::Unavailable("the store is closed".into())
}

/// The writer thread: takes what waits, runs it in one transaction, commits, tells everybody.
fn write_groups(connection: &Connection, jobs: &mpsc::Receiver<Job>, fail: &watch::Sender<bool>) {
    while let Ok(first) = jobs.recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            refuse(connection, first, &error.to_string());
            continue;
        }
        let mut finishes = vec![first(connection)];
        while finishes.len() < LARGEST_GROUP
            && !connection.is_autocommit()
            && let Ok(next) = jobs.try_recv()
        {
            finishes.push(next(connection));
        }
        let fate = commit(connection);
        if matches!(fate, Fate::Unknown) {
            // After a failed flush the pages in memory no longer tell what is on the disk: only a restart can say.
            fail.send_replace(true);
        }
        for finish in finishes {
            finish(&fate);
        }
        if *fail.borrow() {
            return;
        }
    }
}

/// Tells a write that no transaction could be begun for it. Its statements are not run: a transaction is missing.
fn refuse(connection: &Connection, job: Job, why: &str) {
    let fate = Fate::Aborted(why.to_owned());
    job(connection)(&fate);
}

fn commit(connection: &Connection) -> Fate {
    if connection.is_autocommit() {
        // A full disk or an I/O error in a statement makes SQLite roll everything back by itself.
        return Fate::Aborted("the transaction was rolled back".into());
    }
    let Err(error) = connection.execute_batch("COMMIT") else { return Fate::Committed };
    let code = error.sqlite_error_code();
    let rolled_back = connection.execute_batch("ROLLBACK").is_ok();
    match code {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation) if rolled_back => {
            Fate::Aborted(error.to_string())
        }
        _ => Fate::Unknown,
    }
}

/// Runs one write of a group; what it did is undone if it fails or panics.
fn in_savepoint<T, E: StoreFailure>(
    connection: &Connection,
    work: impl Fn(&mut Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    if connection.is_autocommit() {
        return Err(Error::Unavailable("no transaction".into()).into());
    }
    command(connection, "SAVEPOINT one").map_err(failure)?;
    let result = catch_unwind(AssertUnwindSafe(|| work(&mut Tx(Session::Sqlite(connection)))))
        .unwrap_or_else(|_| Err(Error::Defect("a write panicked".into()).into()));
    let undone = if result.is_ok() { Ok(()) } else { command(connection, "ROLLBACK TO one") };
    match (result, undone.and_then(|()| command(connection, "RELEASE one"))) {
        (Ok(_), Err(error)) => Err(failure(error).into()),
        (result, _) => result,
    }
}

/// A statement of the engine's own, parsed once.
fn command(connection: &Connection, sql: &'static str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn connect(file: &Path, durable: bool) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(failure)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failure)?;
    let pragmas = [
        ("journal_mode", "WAL"),
        ("synchronous", if durable { "FULL" } else { "NORMAL" }),
        ("foreign_keys", "ON"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
        // Savepoints spill their undo pages; in memory that costs no system calls.
        ("temp_store", "MEMORY"),
    ];
    for (name, value) in pragmas {
        connection.pragma_update(None, name, value).map_err(failure)?;
    }
    Ok(connection)
}

/// Creates the file with mode 0600 if it is not there; SQLite gives its WAL the same mode.
fn create_private(file: &Path) -> Result<(), Error> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(file);
    opened.map(drop).map_err(|error| Error::Unusable(format!("{}: {error}", file.display())))
}

fn lock_file(file: &Path) -> Result<File, Error> {
    let path = file.with_extension("lock");
    let refused = |error: &dyn std::fmt::Display| Error::Unusable(format!("{}: {error}", path.display()));
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(|e| refused(&e))?;
    lock.try_lock().map_err(|_| refused(&"another stead has this database open"))?;
    Ok(lock)
}

pub(super) fn run(connection: &Connection, sql: &'static str, args: &[Arg]) -> Result<u64, Error> {
    let mut statement = prepare(connection, sql, args)?;
    if statement.column_count() == 0 {
        return statement.raw_execute().map(|rows| rows as u64).map_err(failure);
    }
    // A statement that returns rows nobody wants: run it to its end.
    let mut rows = statement.raw_query();
    let mut count = 0;
    while rows.next().map_err(failure)?.is_some() {
        count += 1;
    }
    Ok(count)
}

pub(super) fn each<E: From<Error>>(
    connection: &Connection,
    sql: &'static str,
    args: &[Arg],
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = prepare(connection, sql, args)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(failure)? {
        let value = |column| row.get_ref(column).map_err(failure).and_then(value_of);
        take(Row((0..columns).map(value).collect::<Result<_, _>>()?))?;
    }
    Ok(())
}

fn value_of(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
        ValueRef::Real(_) => return Err(Error::Defect("no column holds fractions".into())),
    })
}

/// The names of the places, as statements write them.
const PLACES: [&str; 30] = [
    "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$16", "$17",
    "$18", "$19", "$20", "$21", "$22", "$23", "$24", "$25", "$26", "$27", "$28", "$29", "$30",
];

/// Prepares a statement and binds its arguments. SQLite takes `$1` for a name and numbers names by their first
/// appearance, so each is bound by name, and their count is checked.
fn prepare<'a>(
    connection: &'a Connection,
    sql: &'static str,
    args: &[Arg],
) -> Result<rusqlite::CachedStatement<'a>, Error> {
    let mut statement = connection.prepare_cached(sql).map_err(failure)?;
    if statement.parameter_count() != args.len() || args.len() > PLACES.len() {
        return Err(Error::Defect(format!(
            "{} places and {} arguments: {sql}",
            statement.parameter_count(),
            args.len()
        )));
    }
    for (name, arg) in PLACES.iter().zip(args) {
        let place = statement.parameter_index(name).map_err(failure)?;
        let place = place.ok_or_else(|| Error::Defect(format!("no place {name}: {sql}")))?;
        match arg {
            Value::Null => statement.raw_bind_parameter(place, rusqlite::types::Null),
            Value::Int(number) => statement.raw_bind_parameter(place, number),
            Value::Text(text) => statement.raw_bind_parameter(place, text),
            Value::Bytes(bytes) => statement.raw_bind_parameter(place, bytes),
        }
        .map_err(failure)?;
    }
    Ok(statement)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failure(error: rusqlite::Error) -> Error {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if text.contains("UNIQUE") => Error::NotUnique(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Conflict(text),
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory,
        ) => Error::Unavailable(text),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Unusable(text),
        _ => Error::Defect(text),
    }
}
