//! `cargo xtask power-cut`: does an acknowledged write survive the power? Not part of `test`, since it mounts file systems.

use crate::arguments::Arguments;
use crate::process::{self, Outcome, cargo, is_root};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let cuts = arguments.number("--cuts", 100)?;
    arguments.done()?;

    if !cfg!(target_os = "linux") || !is_root() {
        return Err(
            "power-cut needs Linux and root: it mounts loop devices and shuts them down under the server".into()
        );
    }
    let mut command = cargo(&["test", "-p", "stead", "--test", "main"]);
    command.args(["power_cut", "--", "--ignored", "--nocapture"]);
    command.env("STEAD_POWER_CUTS", cuts.to_string());
    process::run("the power-cut test", &mut command)
}
