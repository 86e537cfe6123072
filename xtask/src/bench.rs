//! `cargo xtask bench`: figures and their yardsticks in one run. Ratios only mean something on a quiet machine.

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let postgres = arguments.switch("--postgres");
    arguments.done()?;

    let server = postgres.then(Postgres::start).transpose()?;
    let mut command = cargo(&["bench", "-p", "stead", "--bench", "figures"]);
    if let Some(server) = &server {
        command.env("STEAD_TEST_POSTGRES", server.url());
    }
    process::run("the benchmark", &mut command)
}
