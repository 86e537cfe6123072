//! `cargo xtask fuzz`: random octets, guided by coverage, at what strangers' octets reach first. The targets' properties
//! are in `fuzz/targets`.

use std::fs;

use crate::arguments::Arguments;
use crate::process::{self, Outcome, answer, cargo, root, target_dir};

const TARGETS: [&str; 3] = ["secret", "headers", "path"];

/// What `cargo fuzz` would pass, without its nightly compiler: there is no unsafe code here for a sanitizer to watch.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let runs = arguments.number("--runs", 1_000_000)?;
    arguments.done()?;

    let folder = target_dir()?.join("fuzz");
    let version = answer("rustc", &["-vV"]).unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc doesn't say its host")?;
    // The very versions that the server is built with.
    fs::copy(root().join("Cargo.lock"), root().join("fuzz/Cargo.lock"))
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let mut build = cargo(&["build", "--release", "--target", host]);
    // With a target named, the flags don't reach build scripts, which would miss the fuzzer's symbols.
    build.env("RUSTFLAGS", FLAGS.join(" ")).current_dir(root().join("fuzz")).arg("--target-dir").arg(&folder);
    process::run("the build of the fuzz targets", &mut build)?;

    for target in TARGETS {
        let corpus = folder.join("corpus").join(target);
        fs::create_dir_all(&corpus).map_err(|error| format!("can't make {}: {error}", corpus.display()))?;
        let mut fuzzer = std::process::Command::new(folder.join(host).join("release").join(target));
        // What it finds, it leaves in the folder of the corpora.
        fuzzer.arg(&corpus).arg(format!("-runs={runs}")).args(["-max_len=512", "-print_final_stats=1", "-verbosity=0"]);
        fuzzer.current_dir(folder.join("corpus"));
        eprintln!("xtask: {target}");
        process::run(&format!("fuzzing {target}"), &mut fuzzer)?;
    }
    Ok(())
}
