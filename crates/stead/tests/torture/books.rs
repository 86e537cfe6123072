//! The server's books of credits, read behind its back: whether they are whole can't be seen from outside.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};
use tokio_postgres::NoTls;

const TOTALS: &str = "SELECT lineage_id, used, leased, forfeited FROM credits";
const LEASES: &str = "SELECT lineage_id, node_id FROM credit_leases";

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) enum Books {
    /// The file.
    Sqlite(PathBuf),
    /// The server's URL without the schema, and the schema.
    Postgres(String, String),
}

/// A lineage's month.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    pub(crate) lineage: String,
    pub(crate) used: u64,
    pub(crate) leased: u64,
    pub(crate) forfeited: u64,
}

impl Books {
    pub(crate) async fn totals(&self) -> Vec<Total> {
        let total = |lineage, used: i64, leased: i64, forfeited: i64| Total {
            lineage,
            used: used.unsigned_abs(),
            leased: leased.unsigned_abs(),
            forfeited: forfeited.unsigned_abs(),
        };
        match self {
            Self::Sqlite(_) => {
                let connection = self.file();
                let mut statement = connection.prepare(TOTALS).expect("there is such a table");
                let read = |row: &rusqlite::Row<'_>| Ok(total(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                let rows = statement.query_map([], read).expect("it can be read");
                rows.map(|row| row.expect("a row of totals")).collect()
            }
            Self::Postgres(..) => {
                let rows = self.session().await.query(TOTALS, &[]).await.expect("it can be read");
                rows.iter().map(|row| total(row.get(0), row.get(1), row.get(2), row.get(3))).collect()
            }
        }
    }

    /// Lineage and node of every open lease.
    pub(crate) async fn leases(&self) -> Vec<(String, String)> {
        match self {
            Self::Sqlite(_) => {
                let connection = self.file();
                let mut statement = connection.prepare(LEASES).expect("there is such a table");
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
                rows.map(|row| row.expect("a lease")).collect()
            }
            Self::Postgres(..) => {
                let rows = self.session().await.query(LEASES, &[]).await.expect("it can be read");
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        }
    }

    /// Makes the leases of a node that is gone as old as they would be after the time that a sweep waits for: that is
    /// minutes, by the wall clock.
    pub(crate) async fn age(&self, node: &str) {
        let older = "UPDATE credit_leases SET renewed_at = renewed_at - 181000000 WHERE node_id = $1";
        self.session().await.execute(older, &[&node]).await.expect("leases can be aged");
    }

    fn file(&self) -> Connection {
        let Self::Sqlite(file) = self else { unreachable!("these books are in PostgreSQL") };
        // Not read-only: what a killed server left in the log has to be recovered first.
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the database can be opened")
    }

    async fn session(&self) -> tokio_postgres::Client {
        let Self::Postgres(url, schema) = self else { unreachable!("these books are in a file") };
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL can be reached");
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path TO {schema}")).await.expect("the schema is there");
        client
    }
}
