//! FastAPI under uvicorn: what a team writes that needs API keys by next week. Reads the key from a header, hashes it,
//! looks it up in an indexed table of SQLite, checks it and answers with JSON: [`APP`]. One worker for each core of the
//! server; no use is noted.

use super::{Setting, digest, handed};
use crate::contender::{Contender, Proof, Questions};
use crate::process::{Process, free_address, on_cores};
use crate::wire::get;
use anyhow::Result;
use rusqlite::{Connection, params};
use std::fs;
use std::path::Path;

const APP: &str = include_str!("fastapi_app.py");

pub(super) fn start(name: &'static str, setting: &Setting<'_>) -> Result<Contender> {
    let python = handed("PYTHON")?;
    let database = setting.scratch.join("fastapi.db");
    fill(&database, setting)?;
    fs::write(setting.scratch.join("fastapi_app.py"), APP)?;

    let address = free_address()?;
    let mut command = on_cores(setting.cores, &python);
    let (port, workers) = (address.port().to_string(), setting.workers.to_string());
    command.args(["-m", "uvicorn", "fastapi_app:app", "--host", "127.0.0.1", "--port", &port, "--workers", &workers]);
    // Between its turns a connection may rest; a line of log for each request would cost it a third.
    command.args(["--timeout-keep-alive", "600", "--no-access-log", "--loop", "uvloop", "--http", "httptools"]);
    command.current_dir(setting.scratch).env("DATABASE", &database);
    let process = Process::start_at(&mut command, address, &setting.scratch.join("fastapi.log"))?;
    let request = |secret: &String| get("/verify?permission=text_to_speech", "x-api-key", secret);
    let questions = Questions::new(setting.keys, Proof::Id, |key| key.secret.clone(), request)?;
    Ok(Contender::http(name, &process, questions).keeping(process))
}

fn fill(database: &Path, setting: &Setting<'_>) -> Result<()> {
    let mut connection = Connection::open(database)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(
        "CREATE TABLE api_keys (
            digest BLOB PRIMARY KEY, id TEXT NOT NULL, workspace_id TEXT NOT NULL, account_id TEXT NOT NULL,
            permissions TEXT NOT NULL, is_disabled INTEGER NOT NULL, expires_at INTEGER
        ) STRICT, WITHOUT ROWID",
    )?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO api_keys VALUES
             (?1, ?2, 'ws_0123456789abcdefghijkl', 'usr_0123456789abcdefghijkl', '[\"text_to_speech\"]', 0, NULL)",
        )?;
        for key in setting.keys.iter() {
            insert.execute(params![digest(&key.secret), key.id])?;
        }
    }
    transaction.commit()?;
    Ok(())
}
