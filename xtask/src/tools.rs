//! Programs that tests need: found, or installed by name with the machine's package manager, or asked for in a sentence.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Outcome, answer, is_root};

pub(crate) struct Tool {
    name: &'static str,
    there: fn() -> bool,
    /// Debian's names. None when no package of Debian's is the right one.
    packages: &'static [&'static str],
    by_hand: &'static str,
}

pub(crate) const POSTGRES: Tool = Tool {
    name: "PostgreSQL",
    there: || postgres_bin().is_some(),
    packages: &["postgresql"],
    by_hand: "the PostgreSQL server, with `initdb` and `postgres` in PATH",
};

pub(crate) const ALL: &[Tool] = &[
    Tool {
        name: "rustfmt and clippy",
        there: || says("cargo", &["fmt", "--version"]) && says("cargo", &["clippy", "--version"]),
        packages: &[],
        by_hand: "rustup component add rustfmt clippy",
    },
    Tool {
        name: "a C compiler",
        there: || says("cc", &["--version"]),
        packages: &["build-essential"],
        by_hand: "a C compiler called `cc` (SQLite and AWS-LC are compiled from source)",
    },
    Tool { name: "curl", there: || says("curl", &["--version"]), packages: &["curl"], by_hand: "curl" },
    Tool { name: "openssl", there: || says("openssl", &["version"]), packages: &["openssl"], by_hand: "openssl" },
    // Any age will do here: where the packaged one is too old, sdks.rs brings a newer one from npm.
    Tool {
        name: "Node.js and npm",
        there: || says("node", &["--version"]) && says("npm", &["--version"]),
        packages: &["nodejs", "npm"],
        by_hand: "Node.js 20 or newer with npm",
    },
    Tool {
        name: "Python with venv",
        there: || {
            let old_enough = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";
            says("python3", &["-c", old_enough])
        },
        packages: &["python3", "python3-venv"],
        by_hand: "Python 3.9 or newer as `python3`, with the modules venv and ensurepip",
    },
    POSTGRES,
    // Their packages start a service where there is a service manager; the tests need none and start their own.
    Tool {
        name: "nginx",
        there: || says("nginx", &["-v"]) || says("/usr/sbin/nginx", &["-v"]),
        packages: &["nginx-light"],
        by_hand: "nginx 1.18 or newer with its module auth_request",
    },
    Tool { name: "Caddy", there: || says("caddy", &["version"]), packages: &["caddy"], by_hand: "Caddy 2.6 or newer" },
];

/// Installs what is missing of these, all in one go.
pub(crate) fn ensure(tools: &[Tool]) -> Outcome {
    let missing = || tools.iter().filter(|tool| !(tool.there)());
    let packages: Vec<_> = missing().flat_map(|tool| tool.packages).copied().collect();
    if !packages.is_empty() {
        let names: Vec<_> = missing().map(|tool| tool.name).collect();
        eprintln!("xtask: missing here: {}", names.join(", "));
        // What could not be installed is told below, one line a tool.
        if let Err(why) = apt_install(&packages) {
            eprintln!("xtask: {why}");
        }
    }
    let left: Vec<_> = missing().map(|tool| format!("\n  {}: {}", tool.name, tool.by_hand)).collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("please install by hand:{}", left.concat()))
}

/// The folder of `initdb` and `postgres`: Debian keeps them out of PATH, a folder for each version.
pub(crate) fn postgres_bin() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).collect::<Vec<_>>();
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    versions.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    in_path
        .into_iter()
        .chain(versions.into_iter().map(|folder| folder.join("bin")))
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}

fn version(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.parse().ok()
}

fn says(program: &str, arguments: &[&str]) -> bool {
    answer(program, arguments).is_some()
}

fn apt_install(packages: &[&str]) -> Outcome {
    if !says("apt-get", &["--version"]) {
        return Err("there is no apt-get on this machine".into());
    }
    let apt = |arguments: &[&str]| {
        // `env` behind sudo, because sudo drops variables that stand before it.
        let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
        let words = [if is_root() { &[][..] } else { &["sudo"][..] }, &quiet, arguments].concat();
        process::run("apt-get", Command::new(words[0]).args(&words[1..]))
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}
