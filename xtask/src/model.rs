//! `cargo xtask model`: the server beside its model, for longer than a suite should.

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let count = arguments.number("--count", 2000)?;
    let seed = arguments.number("--seed", 0)?;
    arguments.done()?;

    let server = Postgres::start()?;
    let mut command = cargo(&["test", "--release", "-p", "stead-server", "--test", "main", "model::"]);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("STEAD_TEST_POSTGRES", server.url());
    command.env("STEAD_MODEL", count.to_string()).env("STEAD_MODEL_SEED", seed.to_string());
    process::run("the walks", &mut command)
}
