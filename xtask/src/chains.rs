//! `cargo xtask chains`: random chains of calls that look for more power than there was, more of them than a suite
//! should run.

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let count = arguments.number("--count", 100_000)?;
    let seed = arguments.number("--seed", 0)?;
    arguments.done()?;

    let mut rules = cargo(&["test", "--release", "-p", "stead-server", "--lib", "power::chains", "--", "--nocapture"]);
    rules.env("CARGO_PROFILE_RELEASE_LTO", "off");
    process::run("the chains of the rules", &mut rules)?;
    let server = Postgres::start()?;
    let mut calls = cargo(&["test", "--release", "-p", "stead-server", "--test", "main", "chains::"]);
    calls.args(["--", "--nocapture", "--test-threads", "1"]);
    calls.env("CARGO_PROFILE_RELEASE_LTO", "off").env("STEAD_TEST_POSTGRES", server.url());
    calls.env("STEAD_CHAINS", count.to_string()).env("STEAD_CHAINS_SEED", seed.to_string());
    process::run("the chains of calls", &mut calls)
}
