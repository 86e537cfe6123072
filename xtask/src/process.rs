//! Running other programs, and where this workspace is.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A chore ends well or with a sentence for the person who started it.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// Runs to the end with output going straight through; `what` begins the sentence when it fails.
pub(crate) fn run(what: &str, command: &mut Command) -> Outcome {
    let status = command.status().map_err(|error| format!("{what}: can't start {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} failed ({status})")) }
}

/// What a program says on standard output, or nothing if it is not there or fails.
pub(crate) fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

/// The cargo that runs this chore, so that a `+toolchain` holds for what it starts.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Asked at run time: a target directory shared by two clones may hold a binary that the other one built.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    PathBuf::from(own).join("..")
}

/// Read off the place of this very binary, `<target>/<profile>/xtask`: so `CARGO_TARGET_DIR`, `--target-dir` and
/// `build.target-dir` all hold without being read here.
pub(crate) fn target_dir() -> Outcome<PathBuf> {
    let binary = std::env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let target = binary.parent().and_then(|profile| profile.parent());
    Ok(target.ok_or("xtask runs outside a target directory")?.into())
}

pub(crate) fn is_root() -> bool {
    answer("id", &["-u"]).as_deref() == Some("0")
}
