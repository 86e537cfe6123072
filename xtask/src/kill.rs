//! `cargo xtask kill`: the crash test of the suite, for longer than a suite should take: of what is managed,
//! or of charges.

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let cycles = arguments.number("--cycles", 1000)?;
    let tests = if arguments.switch("--charges") { "charges" } else { "kill" };
    let postgres = arguments.switch("--postgres");
    arguments.done()?;

    let server = postgres.then(Postgres::start).transpose()?;
    let mut command = cargo(&["test", "-p", "stead", "--test", "main"]);
    command.args([tests, "--", "--nocapture"]);
    command.env("STEAD_KILL_CYCLES", cycles.to_string());
    if let Some(server) = &server {
        command.env("STEAD_TEST_POSTGRES", server.url());
    }
    process::run("the kill test", &mut command)
}
