//! The schema: numbered files, applied at start in one transaction under a lease, each with a checksum so that an
//! edited file is noticed. A database with a migration this program doesn't know is refused, not guessed at.

use super::{Error, Tx};
use crate::seal::hex;
use sha2::{Digest, Sha256};

struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
}

/// In order, without gaps. A released one is never edited.
const MIGRATIONS: [Migration; 1] =
    [Migration { number: 1, name: "start", sql: include_str!("migrations/0001_start.sql") }];

/// The words in which the engines differ.
pub(super) struct Dialect {
    pub(super) int: &'static str,
    pub(super) bytes: &'static str,
    pub(super) bool: &'static str,
    pub(super) strict: &'static str,
    /// For tables that are only ever reached by their key: stored in its order, without a second tree.
    pub(super) keyed: &'static str,
}

/// Brings the schema up to date inside a transaction. `batch` runs a script of several statements.
pub(super) fn migrate(
    tx: &mut Tx<'_>,
    dialect: &Dialect,
    mut batch: impl FnMut(&mut Tx<'_>, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    tx.run("CREATE TABLE IF NOT EXISTS schema_lease (id BIGINT NOT NULL PRIMARY KEY, held BIGINT NOT NULL)", &[])?;
    tx.run(
        "CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)",
        &[],
    )?;
    // The lease is the lock on this row, held to the end of the transaction: a second node waits here, then finds
    // everything done. An advisory lock would not work on every engine that speaks PostgreSQL.
    tx.run("INSERT INTO schema_lease (id, held) VALUES (1, 0) ON CONFLICT (id) DO NOTHING", &[])?;
    tx.run("UPDATE schema_lease SET held = held + 1 WHERE id = 1", &[])?;
    let done: Vec<(i64, String)> =
        tx.all("SELECT number, checksum FROM schema_migrations ORDER BY number", &[], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    for (number, checksum) in &done {
        match MIGRATIONS.iter().find(|known| known.number == *number) {
            None => {
                return Err(Error::Unusable(format!(
                    "the database has migration {number}, which this version of stead does not know: start a newer stead"
                )));
            }
            Some(known) if checksum_of(known) != *checksum => {
                return Err(Error::Unusable(format!(
                    "migration {number} was applied from another text than this program's"
                )));
            }
            Some(_) => {}
        }
    }
    for migration in MIGRATIONS.iter().filter(|known| done.iter().all(|(number, _)| *number != known.number)) {
        let script = migration
            .sql
            .replace("{int}", dialect.int)
            .replace("{bytes}", dialect.bytes)
            .replace("{bool}", dialect.bool)
            .replace("{strict}", dialect.strict)
            .replace("{keyed}", dialect.keyed);
        batch(tx, &script)?;
        tx.run(
            "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
            &[migration.number.into(), migration.name.into(), checksum_of(migration).into()],
        )?;
    }
    Ok(())
}

fn checksum_of(migration: &Migration) -> String {
    hex(&Sha256::digest(migration.sql))
}
