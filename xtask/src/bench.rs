//! `cargo xtask bench`: figures and their yardsticks in one run. Ratios only mean something on a quiet machine.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo, target_dir};
use crate::{comparators, tools};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let words = arguments.rest();
    arguments.done()?;
    let chosen = |word: &str| words.is_empty() || words.iter().any(|given| given == word);

    let target = target_dir()?;
    let mut command = cargo(&["bench", "-p", "stead", "--bench", "figures", "--"]);
    command.args(&words);
    if chosen("redis") {
        // Found in PATH by who starts it, who also tells if it is not there.
        let _ = told(tools::ensure(&[tools::REDIS]));
    }
    let postgres = if chosen("postgres") || chosen("revocation") { Some(told(Postgres::start())) } else { None };
    if let Some(server) = &postgres {
        hand(&mut command, "POSTGRES", server.as_ref().map(Postgres::url));
    }
    if chosen("fastapi") {
        hand(&mut command, "PYTHON", told(comparators::fastapi(&target)).as_ref());
    }
    if chosen("better-auth") {
        let there = told(comparators::better_auth(&target));
        hand(&mut command, "NODE", there.as_ref().map(|there| &there.node));
        hand(&mut command, "NODE_DIR", there.as_ref().map(|there| &there.packages));
    }
    if chosen("mirror") {
        let rows = target.join("mirror-rows");
        measure_mirror(&rows)?;
        command.env("STEAD_BENCH_MIRROR", rows);
    }
    process::run("the benchmark", &mut command)
}

/// The decision without a server; its rows go into the same table.
fn measure_mirror(rows: &Path) -> Outcome {
    let file = File::create(rows).map_err(|error| format!("can't write {}: {error}", rows.display()))?;
    let mut command = cargo(&["bench", "-p", "stead-verify", "--bench", "mirror"]);
    process::run("the mirror's benchmark", command.stdout(Stdio::from(file)))
}

/// A value for the benchmark, or why there is none: what is missing takes a row, not the run.
fn hand<V: AsRef<std::ffi::OsStr>>(command: &mut Command, name: &str, value: Result<V, &String>) {
    match value {
        Ok(value) => command.env(format!("STEAD_BENCH_{name}"), value),
        Err(why) => command.env(format!("STEAD_BENCH_{name}_WHY_NOT"), why.replace('\n', " ")),
    };
}

fn told<T>(outcome: Outcome<T>) -> Outcome<T> {
    outcome.inspect_err(|why| eprintln!("xtask: {why}"))
}
