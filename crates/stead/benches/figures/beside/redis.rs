//! Redis: `GET` of a key's SHA-256, which gives the record as JSON. Nothing is written to disk.
//!
//! It does less than Stead: it neither hashes (the load brings the hashes along, made beforehand), nor parses JSON, nor
//! decides, nor notes a use.

use super::{Setting, digest, hex, record};
use crate::contender::{Contender, Proof, Questions};
use crate::process::{Process, free_address, on_cores};
use crate::wire::Protocol;
use anyhow::{Result, ensure};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Commands sent at once while it is filled.
const BATCH: usize = 1000;

pub(super) async fn start(name: &'static str, setting: &Setting<'_>) -> Result<Contender> {
    let address = free_address()?;
    let mut command = on_cores(setting.cores, Path::new("redis-server"));
    let port = address.port().to_string();
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(setting.scratch);
    let process = Process::start_at(&mut command, address, &setting.scratch.join("redis.log"))?;
    fill(address, setting).await?;
    let request = |hash: &String| command_of(&["GET", hash]);
    let questions = Questions::new(setting.keys, Proof::Id, |key| hex(&digest(&key.secret)), request)?;
    Ok(Contender {
        name,
        address,
        protocol: Protocol::Resp,
        greeting: Vec::new(),
        questions: Arc::new(questions),
        tree: process.tree(),
        process: Some(process),
    })
}

async fn fill(address: SocketAddr, setting: &Setting<'_>) -> Result<()> {
    const OK: &[u8] = b"+OK\r\n";
    let mut stream = TcpStream::connect(address).await?;
    for batch in setting.keys.chunks(BATCH) {
        let commands = batch.iter().map(|key| command_of(&["SET", &hex(&digest(&key.secret)), &record(key)]));
        stream.write_all(&commands.collect::<Vec<_>>().concat()).await?;
        let mut answers = vec![0; OK.len() * batch.len()];
        stream.read_exact(&mut answers).await?;
        ensure!(answers.chunks(OK.len()).all(|answer| answer == OK), "a SET was refused");
    }
    Ok(())
}

fn command_of(words: &[&str]) -> Vec<u8> {
    let words_with_lengths = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words_with_lengths.collect::<String>()).into_bytes()
}
