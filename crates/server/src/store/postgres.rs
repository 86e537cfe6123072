//! PostgreSQL: a small pool of sessions, each driven by a task of its own.
//!
//! Statements run on blocking threads, so a caller that goes away never leaves a session half-way through a
//! transaction. The session's task sees the notices: a warning during COMMIT means that the wait for a standby was
//! cancelled, and then nobody knows whether the write survives a failover.

use super::migrate::{Dialect, migrate};
use super::{Arg, Error, Proof, Provable, Row, Session as Either, StoreFailure, Tx, Value, Written};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

const SESSIONS: usize = 16;
/// What every session is told: acknowledged is flushed, whatever a role's defaults say; a warning is never hidden; and
/// nothing waits without end, neither a statement for an answer nor the server for an ended client.
const SESSION: &str = " -csynchronous_commit=on -cclient_min_messages=warning -cstatement_timeout=60s \
                       -clock_timeout=10s -cidle_in_transaction_session_timeout=30s";
const ATTEMPTS: u32 = 12;
/// How long an unknown commit is asked after before the caller is told that nobody knows.
const PROOF_ATTEMPTS: u32 = 10;

const DIALECT: Dialect = Dialect { int: "BIGINT", bytes: "BYTEA", bool: "BOOLEAN", strict: "", keyed: "" };

/// A pool of sessions.
pub(super) struct Postgres {
    pool: Pool,
    /// Never true: what fails here is a session, and the next one is another. Kept open for as long as the store is.
    broken: watch::Sender<bool>,
}

#[derive(Clone)]
struct Pool {
    config: Arc<Config>,
    tls: MakeRustlsConnect,
    idle: Arc<Mutex<Vec<Session>>>,
    permits: Arc<Semaphore>,
    /// One more, for the follower of the change log.
    ahead: Arc<Semaphore>,
    runtime: Handle,
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

/// One session.
pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// Set by the session's task when the server warns.
    warned: Arc<AtomicBool>,
    runtime: Handle,
}

impl Postgres {
    pub(super) async fn open(url: &str, schema: Option<&str>) -> Result<Self, Error> {
        if let Some(schema) = schema {
            // The name was checked where the setting was read: letters, digits and underscores.
            let session = Self::open_to_examine(url, None)?.pool.connect().await?;
            match session.client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"")).await {
                // Two nodes may create it at once; the second loses a race inside the server.
                Err(error) if error.code() != Some(&SqlState::UNIQUE_VIOLATION) => return Err(failure(&error)),
                _ => {}
            }
        }
        let postgres = Self::open_to_examine(url, schema)?;
        let migrated = postgres.write(
            |tx| {
                migrate(tx, &DIALECT, |tx, script| match &mut tx.0 {
                    Either::Postgres(session) => {
                        session.runtime.block_on(session.client.batch_execute(script)).map_err(|error| failure(&error))
                    }
                    Either::Sqlite(_) => unreachable!("this is the other engine's session"),
                })
            },
            |()| {},
        );
        match migrated.await {
            Written::Committed(()) => Ok(postgres),
            Written::Aborted(error) => Err(error),
            Written::Unknown => {
                Err(Error::Unavailable("it is not known whether the schema was brought up to date; start again".into()))
            }
        }
    }

    /// Without touching the schema. Connects when the first statement comes.
    pub(super) fn open_to_examine(url: &str, schema: Option<&str>) -> Result<Self, Error> {
        // The driver's error may quote the address, never the password.
        let mut config: Config = url.parse().map_err(|error| Error::Unusable(format!("the database URL: {error}")))?;
        let mut options = config.get_options().unwrap_or_default().to_owned();
        options.push_str(SESSION);
        if let Some(schema) = schema {
            options.push_str(" -csearch_path=");
            options.push_str(schema);
        }
        config
            .application_name("stead")
            .options(options)
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        let pool = Pool {
            config: Arc::new(config),
            tls: MakeRustlsConnect::new(tls_config()?),
            idle: Arc::default(),
            permits: Arc::new(Semaphore::new(SESSIONS)),
            ahead: Arc::new(Semaphore::new(1)),
            runtime: Handle::current(),
        };
        Ok(Self { pool, broken: watch::Sender::new(false) })
    }

    pub(super) fn broken(&self) -> watch::Receiver<bool> {
        self.broken.subscribe()
    }

    pub(super) async fn read<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        let permit = self.pool.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        self.read_with(permit, work).await
    }

    pub(super) async fn read_ahead<T, E>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        let permit = self.pool.ahead.clone().acquire_owned().await.map_err(|_| closed())?;
        self.read_with(permit, work).await
    }

    async fn read_with<T, E>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: StoreFailure + Send + 'static,
    {
        let pool = self.pool.clone();
        let run = move || {
            let _permit = permit;
            let mut session = pool.begun("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            let result = work(&mut Tx(Either::Postgres(&mut session)));
            if session.batch("ROLLBACK").is_ok() {
                pool.give_back(session);
            }
            result
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
        let Ok(permit) = self.pool.permits.clone().acquire_owned().await else {
            return Written::Aborted(closed().into());
        };
        let pool = self.pool.clone();
        let run = move || {
            let _permit = permit;
            write_until_settled(&pool, &work, committed)
        };
        // A panic in `work` unwinds the thread; its session is dropped, and the server rolls back.
        tokio::task::spawn_blocking(run)
            .await
            .unwrap_or_else(|panic| Written::Aborted(Error::Defect(panic.to_string()).into()))
    }
}

impl Pool {
    /// A session with a transaction begun: an idle one that is still alive, or a new one.
    fn begun(&self, begin: &str) -> Result<Session, Error> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut session) = idle else { break };
            // One that the server has given up meanwhile fails here, where nothing is lost yet.
            if session.batch(begin).is_ok() {
                return Ok(session);
            }
        }
        let mut session = self.runtime.block_on(self.connect())?;
        session.batch(begin)?;
        Ok(session)
    }

    fn give_back(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    async fn connect(&self) -> Result<Session, Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await.map_err(|error| failure(&error))?;
        let warned = Arc::new(AtomicBool::new(false));
        let flag = warned.clone();
        tokio::spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notice(notice)) if notice.parsed_severity() == Some(Severity::Warning) => {
                        tracing::warn!(code = notice.code().code(), "postgres: {}", notice.message());
                        flag.store(true, Ordering::Release);
                    }
                    Ok(_) => {}
                    // Whoever waits for an answer of this session gets an error of their own.
                    Err(_) => break,
                }
            }
        });
        Ok(Session { client, statements: HashMap::new(), warned, runtime: self.runtime.clone() })
    }
}

/// How one attempt at a transaction ended.
enum Attempt<T, E> {
    Done(Written<T, E>),
    Again(E),
    /// The answer to COMMIT was lost with the session.
    Lost(T),
    /// The server took the COMMIT but warned: it may be gone after a failover.
    Warned,
}

fn write_until_settled<T: Provable, E: StoreFailure>(
    pool: &Pool,
    work: &impl Fn(&mut Tx<'_>) -> Result<T, E>,
    committed: impl FnOnce(&T),
) -> Written<T, E> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match attempt_write(pool, work) {
            Attempt::Again(_) if attempt < ATTEMPTS => pause(attempt),
            Attempt::Again(error) => return Written::Aborted(error),
            Attempt::Lost(value) => match value.proof().and_then(|proof| prove(pool, &proof)) {
                Some(true) => {
                    committed(&value);
                    return Written::Committed(value);
                }
                Some(false) => {
                    return Written::Aborted(
                        Error::Unavailable("the database was lost during the commit".into()).into(),
                    );
                }
                None => return Written::Unknown,
            },
            // Promised to nobody. If it stands, the change log brings it to this node like to every other.
            Attempt::Warned => return Written::Unknown,
            Attempt::Done(written) => {
                if let Written::Committed(value) = &written {
                    committed(value);
                }
                return written;
            }
        }
    }
}

fn attempt_write<T, E: StoreFailure>(pool: &Pool, work: &impl Fn(&mut Tx<'_>) -> Result<T, E>) -> Attempt<T, E> {
    let refused = |error: Error| Attempt::Done(Written::Aborted(error.into()));
    let mut session = match pool.begun("BEGIN") {
        Ok(session) => session,
        Err(error) => return refused(error),
    };
    match work(&mut Tx(Either::Postgres(&mut session))) {
        Err(error) => {
            if session.batch("ROLLBACK").is_ok() {
                pool.give_back(session);
            }
            if matches!(error.store_error(), Some(Error::Conflict(_))) {
                Attempt::Again(error)
            } else {
                Attempt::Done(Written::Aborted(error))
            }
        }
        Ok(value) => {
            session.warned.store(false, Ordering::Release);
            let ended = session.batch("COMMIT");
            let warned = session.warned.load(Ordering::Acquire);
            let lost = session.client.is_closed();
            match ended {
                Ok(()) if warned => Attempt::Warned,
                Ok(()) => {
                    pool.give_back(session);
                    Attempt::Done(Written::Committed(value))
                }
                Err(error @ Error::Conflict(_)) => Attempt::Again(error.into()),
                // The server answered that it did not commit.
                Err(error @ (Error::NotUnique(_) | Error::Defect(_))) if !lost => refused(error),
                Err(_) => Attempt::Lost(value),
            }
        }
    }
}

/// Whether a write whose COMMIT got no answer is there; `None` if that can't be found out.
fn prove(pool: &Pool, proof: &Proof) -> Option<bool> {
    for attempt in 1..=PROOF_ATTEMPTS {
        let asked: Result<bool, Error> = (|| {
            let mut session = pool.begun("BEGIN")?;
            // The lost transaction holds this lock until it has ended one way or the other.
            session.run(proof.lock.0, &proof.lock.1)?;
            let mut found = false;
            session.each(proof.find.0, &proof.find.1, |_| -> Result<(), Error> {
                found = true;
                Ok(())
            })?;
            session.batch("ROLLBACK")?;
            pool.give_back(session);
            Ok(found)
        })();
        match asked {
            Ok(found) => return Some(found),
            Err(_) => pause(attempt),
        }
    }
    None
}

/// Waits before the next attempt: longer each time, and not the same for everybody, so that two who met once don't
/// meet again.
fn pause(attempt: u32) {
    let longest = 500_u64 << attempt.min(8);
    let spread = RandomState::new().hash_one(attempt) % longest;
    std::thread::sleep(Duration::from_micros(longest + spread));
}

impl Session {
    fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.runtime.block_on(self.client.batch_execute(sql)).map_err(|error| failure(&error))
    }

    fn prepare(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.runtime.block_on(self.client.prepare(sql)).map_err(|error| failure(&error))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }

    pub(super) fn run(&mut self, sql: &'static str, args: &[Arg]) -> Result<u64, Error> {
        let statement = self.prepare(sql)?;
        self.runtime.block_on(self.client.execute(&statement, &places(args))).map_err(|error| failure(&error))
    }

    pub(super) fn each<E: From<Error>>(
        &mut self,
        sql: &'static str,
        args: &[Arg],
        mut take: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let statement = self.prepare(sql)?;
        let rows =
            self.runtime.block_on(self.client.query(&statement, &places(args))).map_err(|error| failure(&error))?;
        for row in rows {
            let value = |column| value_of(&row, column);
            take(Row((0..row.len()).map(value).collect::<Result<_, _>>()?))?;
        }
        Ok(())
    }
}

fn places(args: &[Arg]) -> Vec<&(dyn ToSql + Sync)> {
    args.iter().map(|arg| arg as &(dyn ToSql + Sync)).collect()
}

fn value_of(row: &tokio_postgres::Row, column: usize) -> Result<Value, Error> {
    let read = match *row.columns()[column].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(column).map(Value::from),
        Type::INT4 => row.try_get::<_, Option<i32>>(column).map(|number| Value::from(number.map(i64::from))),
        Type::BOOL => row.try_get::<_, Option<bool>>(column).map(Value::from),
        Type::TEXT | Type::VARCHAR => row.try_get::<_, Option<String>>(column).map(Value::from),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(column).map(Value::from),
        ref other => return Err(Error::Defect(format!("no column is a {other}"))),
    };
    read.map_err(|error| failure(&error))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Int(number), &Type::BOOL) => (*number != 0).to_sql(kind, out),
            (Self::Int(number), _) => number.to_sql_checked(kind, out),
            (Self::Text(text), _) => text.to_sql_checked(kind, out),
            (Self::Bytes(bytes), _) => bytes.to_sql_checked(kind, out),
        }
    }

    /// Which kinds fit is told value by value above.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn tls_config() -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Unusable(format!("TLS: {error}")))?;
    Ok(builder
        .with_root_certificates(rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
        .with_no_client_auth())
}

fn failure(error: &tokio_postgres::Error) -> Error {
    let Some(database) = error.as_db_error() else {
        // Not an answer of the server: the connection, or a value of the wrong type (a defect).
        let text =
            std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        return if error.to_string().contains("serializing") { Error::Defect(text) } else { Error::Unavailable(text) };
    };
    let text = format!("{} ({})", database.message(), database.code().code());
    match database.code() {
        &SqlState::UNIQUE_VIOLATION => Error::NotUnique(database.constraint().unwrap_or_default().to_owned()),
        &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED => Error::Conflict(text),
        // Classes 08 connection, 53 resources, 55 a lock that was waited for too long, 57 intervention of the operator, 58 system, 28 and 3D: not to be had.
        code if ["08", "53", "55", "57", "58", "28", "3D"].iter().any(|class| code.code().starts_with(class)) => {
            Error::Unavailable(text)
        }
        _ => Error::Defect(text),
    }
}
