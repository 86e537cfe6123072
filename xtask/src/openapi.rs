//! `cargo xtask openapi`: the checked-in description of the API. A test of the server says when it is stale.

use std::process::Stdio;

use crate::arguments::Arguments;
use crate::process::{Outcome, cargo, root};

pub(crate) fn run(arguments: Arguments) -> Outcome {
    arguments.done()?;
    // The answer is collected first: a build that fails must not leave an empty openapi.json.
    let output = cargo(&["run", "--quiet", "-p", "stead", "--", "openapi"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("can't start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("`stead openapi` failed ({})", output.status));
    }
    std::fs::write(root().join("openapi.json"), output.stdout)
        .map_err(|error| format!("can't write openapi.json: {error}"))
}
