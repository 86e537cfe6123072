//! `cargo xtask schemathesis`: the description against the server, with more cases than a suite should take time for.

use crate::arguments::Arguments;
use crate::process::{self, Outcome, cargo, target_dir};
use crate::{sdks, tools};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let examples = arguments.number("--examples", 100)?;
    arguments.done()?;

    tools::ensure(&[tools::PYTHON])?;
    let program = sdks::schemathesis(&target_dir()?)?;
    let mut command =
        cargo(&["test", "--locked", "-p", "stead", "--test", "main", "schemathesis::", "--", "--nocapture"]);
    command.env("STEAD_TEST_SCHEMATHESIS", program).env("STEAD_SCHEMATHESIS", examples.to_string());
    process::run("schemathesis", &mut command)
}
