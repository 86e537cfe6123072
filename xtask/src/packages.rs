//! Packages of npm and PyPI in folders of their own under the target directory: nothing global is touched, and `cargo
//! clean` removes them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{self, Outcome, answer};

/// Runs `make` in an empty folder, unless an earlier run finished there with the same wishes. The stamp is written
/// last, so that an install cut short is made anew.
pub(crate) fn once(folder: &Path, wishes: &str, make: impl Fn() -> Outcome) -> Outcome {
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wishes) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("can't clear {}: {error}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("can't make {}: {error}", folder.display()))?;
    make()?;
    write(&stamp, wishes)
}

/// Installs what the `package.json` in a folder names.
pub(crate) fn npm_install(folder: &Path) -> Outcome {
    // No scripts: what these packages need is in them, and an install script could fetch anything from anywhere.
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
    process::run("npm install", npm.current_dir(folder))
}

/// Makes a virtual environment with some packages; its interpreter is `bin/python` in it.
pub(crate) fn pip_install(environment: &Path, packages: &[&str]) -> Outcome {
    let mut venv = Command::new("python3");
    process::run("python3 -m venv", venv.args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet"]).args(packages);
    process::run("pip install", &mut pip)
}

/// The machine's own, as `v20.20.2`; empty if there is none.
pub(crate) fn node_version() -> String {
    answer("node", &["--version"]).unwrap_or_default()
}

/// The npm package that holds a Node for this machine.
pub(crate) fn node_package() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("node-linux-{machine}")
}

pub(crate) fn major(version: &str) -> u32 {
    let digits = version.trim_start_matches('v').split('.').next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

pub(crate) fn write(file: &Path, text: &str) -> Outcome {
    fs::write(file, text).map_err(|error| format!("can't write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("v20.20.2"), 20);
        assert_eq!(major(""), 0);
    }
}
