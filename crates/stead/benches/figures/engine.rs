//! The engine's own rate: what a program gets that commits each row by itself.

use anyhow::{Context, Result};
use rusqlite::{Connection, params};
use std::path::Path;
use std::time::{Duration, Instant};

/// One database, one connection, one prepared statement.
pub(crate) struct Engine {
    connection: Connection,
    rows: u64,
}

impl Engine {
    /// A fresh database with the settings of Stead's store, and a table like that of its keys.
    pub(crate) fn open(scratch: &Path, name: &str) -> Result<Self> {
        let connection = Connection::open(scratch.join(name)).context("the yardstick's database")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE keys (
                workspace_id TEXT NOT NULL, id TEXT NOT NULL, principal_id TEXT NOT NULL, name TEXT NOT NULL,
                hint TEXT NOT NULL, digest BLOB NOT NULL, permissions TEXT, is_disabled INTEGER NOT NULL,
                created_at INTEGER NOT NULL, version INTEGER NOT NULL, seal BLOB NOT NULL,
                PRIMARY KEY (workspace_id, id)
            ) STRICT",
        )?;
        Ok(Self { connection, rows: 0 })
    }

    /// Commits row after row for a while; rows a second.
    pub(crate) fn rate(&mut self, time: Duration) -> Result<f64> {
        let mut statement =
            self.connection.prepare("INSERT INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
        let (since, before) = (Instant::now(), self.rows);
        while since.elapsed() < time {
            self.rows += 1;
            // Ids are scattered, as random ones are.
            let place = self.rows.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            statement.execute(params![
                "workspace_0123456789abcdefghij",
                format!("key_{place:022x}"),
                "account_0123456789abcdefghijkl",
                "figures",
                "wxyz",
                [7_u8; 32],
                "[\"text_to_speech\"]",
                0,
                1_700_000_000_000_000_i64,
                1,
                [7_u8; 33],
            ])?;
        }
        Ok((self.rows - before) as f64 / since.elapsed().as_secs_f64())
    }
}
