//! What `cargo xtask bench` measures beside Stead, installed at fixed versions in folders of their own. None of it is
//! needed: what can't be had is told, and has its reason in the table.

use std::path::{Path, PathBuf};

use crate::packages::{major, node_package, node_version, npm_install, once, pip_install, write};
use crate::process::Outcome;
use crate::tools;

const FASTAPI: &[&str] = &["fastapi==0.163.2", "uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0"];
/// The first with an SQLite that needs no flag; another binding would have to be compiled.
const NODE_NEEDED: u32 = 24;
const NEWER_NODE: &str = "24";

/// The interpreter that has FastAPI and uvicorn.
pub(crate) fn fastapi(target: &Path) -> Outcome<PathBuf> {
    tools::ensure(&[tools::PYTHON])?;
    let environment = target.join("bench-tools/python");
    once(&environment, &FASTAPI.join(" "), || pip_install(&environment, FASTAPI))?;
    Ok(environment.join("bin/python"))
}

/// Better Auth and the Node to run it with.
pub(crate) struct BetterAuth {
    pub(crate) node: PathBuf,
    /// Holds `node_modules`.
    pub(crate) packages: PathBuf,
}

pub(crate) fn better_auth(target: &Path) -> Outcome<BetterAuth> {
    tools::ensure(&[tools::NODE])?;
    let packages = target.join("bench-tools/node");
    let newer = (major(&node_version()) < NODE_NEEDED).then(node_package);
    let manifest = package_json(newer.as_deref());
    once(&packages, &manifest, || {
        write(&packages.join("package.json"), &manifest)?;
        npm_install(&packages)
    })?;
    let node = newer.map_or_else(|| "node".into(), |name| packages.join("node_modules").join(name).join("bin/node"));
    Ok(BetterAuth { node, packages })
}

/// The plugin fits only its own release of the rest, and npm would take the newest.
fn package_json(newer_node: Option<&str>) -> String {
    let node = newer_node.map_or(String::new(), |package| format!(",\n    \"{package}\": \"{NEWER_NODE}\""));
    format!(
        r#"{{
  "private": true,
  "type": "module",
  "dependencies": {{
    "@better-auth/api-key": "1.7.5",
    "@better-auth/core": "1.7.5",
    "@better-auth/utils": "0.4.2",
    "better-auth": "1.7.5",
    "better-call": "1.4.0"{node}
  }}
}}
"#
    )
}
