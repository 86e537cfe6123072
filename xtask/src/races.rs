//! `cargo xtask races`: the races of the suite, more often than a suite should run them.

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let count = arguments.number("--count", 10_000)?;
    arguments.done()?;

    let server = Postgres::start()?;
    let mut command = cargo(&["test", "-p", "stead-server", "--test", "main"]);
    command.args(["races::", "--", "--nocapture", "--test-threads", "1"]);
    command.env("STEAD_RACES", count.to_string()).env("STEAD_TEST_POSTGRES", server.url());
    process::run("the races", &mut command)
}
