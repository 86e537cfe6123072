//! Better Auth's plugin for API keys behind Node's HTTP server: [`SERVER`]. The plugin notes each use in its database
//! before it answers, and its own rate limit is off, since it would refuse the load. One process for each core of the
//! server.
//!
//! One key is made through the plugin; the others are copies of its row under other ids, with what the plugin stores of
//! a secret: making 200,000 through it would take longer than all the rest.

use super::{Setting, handed};
use crate::contender::{Contender, Proof, Questions};
use crate::process::{Process, free_address, on_cores, run};
use crate::wire::get;
use anyhow::Result;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

const SERVER: &str = include_str!("better_auth.mjs");

pub(super) fn start(name: &'static str, setting: &Setting<'_>) -> Result<Contender> {
    let (node, packages) = (handed("NODE")?, handed("NODE_DIR")?);
    let folder = setting.scratch.join("better-auth");
    fs::create_dir_all(&folder)?;
    // A module finds its packages in a folder beside it, and in no other way.
    symlink(packages.join("node_modules"), folder.join("node_modules"))?;
    let (server, database, keys) = (folder.join("server.mjs"), folder.join("auth.db"), folder.join("keys"));
    fs::write(&server, SERVER)?;
    let mut lines = String::new();
    for key in setting.keys.iter() {
        writeln!(lines, "{}\t{}", key.id, key.secret)?;
    }
    fs::write(&keys, lines)?;
    let log = folder.join("log");
    let production = |command: &mut Command| {
        command.env("NODE_ENV", "production").arg("--no-warnings").arg(&server);
    };
    let mut load = Command::new(&node);
    production(&mut load);
    run(load.arg("load").arg(&database).arg(&keys), &log)?;

    let address = free_address()?;
    let mut command = on_cores(setting.cores, &node);
    production(&mut command);
    command.arg("serve").arg(&database).args([address.port().to_string(), setting.workers.to_string()]);
    let process = Process::start_at(&mut command, address, &log)?;
    let questions =
        Questions::new(setting.keys, Proof::Id, |key| key.secret.clone(), |key| get("/verify", "x-api-key", key))?;
    Ok(Contender::http(name, &process, questions).keeping(process))
}
