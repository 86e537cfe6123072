//! What people use instead, each started and filled here with the same keys. All have the same face: `start` gives a
//! [`Contender`], or says why there is none on this machine.
//!
//! None of them does all that Stead does; each module says what it does.

mod better_auth;
mod fastapi;
mod postgres;
mod redis;

use crate::contender::{Contender, Key};
use anyhow::{Result, bail};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a comparator is started with.
pub(crate) struct Setting<'a> {
    /// A directory that is removed after the run.
    pub(crate) scratch: &'a Path,
    /// Where the server runs; none means everywhere.
    pub(crate) cores: Option<&'a str>,
    /// How many those are: who needs a process for each core gets so many.
    pub(crate) workers: usize,
    pub(crate) keys: &'a Arc<[Key]>,
}

/// A row of the table yet to be measured.
pub(crate) struct Comparator {
    /// The word that chooses it on the command line.
    pub(crate) word: &'static str,
    /// As rows of the table call it.
    pub(crate) name: &'static str,
    /// Of Stead's rate and its own.
    pub(crate) goal: &'static str,
}

impl Comparator {
    pub(crate) async fn start(&self, setting: &Setting<'_>) -> Result<Contender> {
        match self.word {
            "redis" => redis::start(self.name, setting).await,
            "postgres" => postgres::start(self.name, setting).await,
            "fastapi" => fastapi::start(self.name, setting),
            "better-auth" => better_auth::start(self.name, setting),
            other => bail!("nobody knows how to start {other}"),
        }
    }
}

pub(crate) const ALL: &[Comparator] = &[
    Comparator { word: "redis", name: "Redis, GET of a hash", goal: "≥ 1" },
    Comparator { word: "postgres", name: "PostgreSQL, prepared SELECT by digest", goal: "≥ 5" },
    Comparator { word: "fastapi", name: "FastAPI, look-up in SQLite", goal: crate::report::NONE },
    Comparator { word: "better-auth", name: "Better Auth, API-key plugin", goal: "≥ 100" },
];

/// What `cargo xtask bench` has installed or started, or why it could not.
#[allow(clippy::disallowed_methods, reason = "no setting of Stead, but a word from xtask to this program")]
pub(crate) fn handed(name: &str) -> Result<PathBuf> {
    if let Ok(value) = std::env::var(format!("STEAD_BENCH_{name}")) {
        return Ok(value.into());
    }
    match std::env::var(format!("STEAD_BENCH_{name}_WHY_NOT")) {
        Ok(why) => bail!("{why}"),
        Err(_) => bail!("`cargo xtask bench` would have brought it"),
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// What is kept of a key where a program keeps its own records: about what an answer of Stead tells.
fn record(key: &Key) -> String {
    format!(
        r#"{{"key_id":"{}","workspace_id":"ws_0123456789abcdefghijkl","service_account_user_id":"usr_0123456789abcdefghijkl","permissions":["text_to_speech"],"is_disabled":false,"expires_at":null,"character_limit":null,"character_count":0}}"#,
        key.id
    )
}
