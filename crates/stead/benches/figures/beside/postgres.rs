//! PostgreSQL: one prepared `SELECT` by a key's SHA-256 on each connection, which gives the row as text. The server is
//! the one that `cargo xtask bench` lends; its settings are the defaults.
//!
//! It does less than Stead: it neither hashes (the load brings the hashes along), nor parses JSON, nor decides, nor
//! notes a use. Asked with bytes of our own, since a whole driver would cost the load more than the answer.

use super::{Setting, digest, handed};
use crate::contender::{Contender, Proof, Questions};
use crate::tree::Tree;
use crate::wire::Protocol;
use anyhow::{Context, Result};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};

/// Rows inserted by one statement.
const BATCH: usize = 5000;

const TABLE: &str = "
    CREATE TABLE api_keys (
        id TEXT NOT NULL, workspace_id TEXT NOT NULL, account_id TEXT NOT NULL, digest BYTEA PRIMARY KEY,
        permissions TEXT NOT NULL, is_disabled BOOLEAN NOT NULL, expires_at BIGINT
    )";
const INSERT: &str = "
    INSERT INTO api_keys
    SELECT id, 'ws_0123456789abcdefghijkl', 'usr_0123456789abcdefghijkl', digest, '[\"text_to_speech\"]', false, NULL
    FROM unnest($1::text[], $2::bytea[]) AS given (id, digest)";
const SELECT: &str =
    "SELECT id, workspace_id, account_id, permissions, is_disabled, expires_at FROM api_keys WHERE digest = $1";

pub(super) async fn start(name: &'static str, setting: &Setting<'_>) -> Result<Contender> {
    let url = handed("POSTGRES")?;
    let config: Config = url.to_str().context("the address of PostgreSQL is text")?.parse()?;
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    fill(&client, setting).await?;

    let tree = Tree(postmaster(&client).await?);
    if let Some(cores) = setting.cores {
        tree.keep_to(cores)?;
    }
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host.parse()?,
        _ => anyhow::bail!("PostgreSQL is not at one address of this machine"),
    };
    let port = *config.get_ports().first().context("PostgreSQL has a port")?;
    let questions = Questions::new(setting.keys, Proof::Id, |key| digest(&key.secret), execute)?;
    Ok(Contender {
        name,
        address: SocketAddr::new(host, port),
        protocol: Protocol::Postgres,
        greeting: vec![start_up(), prepare()],
        questions: Arc::new(questions),
        tree,
        process: None,
    })
}

async fn fill(client: &Client, setting: &Setting<'_>) -> Result<()> {
    client.batch_execute(TABLE).await?;
    for batch in setting.keys.chunks(BATCH) {
        let ids: Vec<_> = batch.iter().map(|key| key.id.as_str()).collect();
        let digests: Vec<_> = batch.iter().map(|key| digest(&key.secret).to_vec()).collect();
        client.execute(INSERT, &[&ids, &digests]).await?;
    }
    client.batch_execute("VACUUM ANALYZE api_keys").await?;
    Ok(())
}

/// The parent of the process that serves this very connection.
async fn postmaster(client: &Client) -> Result<u32> {
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("PostgreSQL runs on this machine")?;
    // The name, in parentheses, may hold blanks; behind it stand the state and the parent.
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
    parent.context("a process has a parent")
}

fn start_up() -> Vec<u8> {
    // Protocol 3.0.
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    body.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    sized(&body)
}

/// Parse under the name `s`, then Sync.
fn prepare() -> Vec<u8> {
    let parse = format!("s\0{SELECT}\0\0\0");
    [message(b'P', parse.as_bytes()), message(b'S', b"")].concat()
}

/// Bind to `s` with one parameter in binary, Execute, Sync.
fn execute(digest: &[u8; 32]) -> Vec<u8> {
    let bind = [b"\0s\0\0\x01\0\x01\0\x01\0\0\0\x20".as_slice(), digest, b"\0\0"].concat();
    [message(b'B', &bind), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], sized(body)].concat()
}

/// With its length before it, which counts itself.
fn sized(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("messages are short");
    [length.to_be_bytes().as_slice(), body].concat()
}
