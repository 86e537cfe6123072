//! `cargo xtask test`: what CI runs, and what a fresh clone needs to run it too.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::postgres::Postgres;
use crate::process::{self, Outcome, cargo, target_dir};
use crate::sdks::{self, Sdks};
use crate::{tidy, tools};

pub(crate) fn run(mut arguments: Arguments) -> Outcome {
    let chosen = arguments.rest();
    arguments.done()?;

    let mut steps = Steps::default();
    let outcome = prepare_and_run(&chosen, &mut steps);
    steps.print();
    outcome
}

fn prepare_and_run(chosen: &[String], steps: &mut Steps) -> Outcome {
    steps.take("tools", || tools::ensure(tools::ALL))?;
    let sdks = steps.take("official SDKs", || sdks::install(&target_dir()?))?;
    let postgres = steps.take("PostgreSQL", Postgres::start)?;

    // Who asks for one test wants its answer now, not the formatting of the rest. Cheapest first.
    if chosen.is_empty() {
        steps.take("format", || {
            let fix = "the format check (`cargo fmt --all` mends it)";
            process::run(fix, &mut cargo(&["fmt", "--all", "--check"]))
        })?;
        steps.take("tidy", tidy::check_workspace)?;
        steps.take("clippy", || {
            let mut clippy = cargo(&["clippy", "--workspace", "--all-targets", "--locked"]);
            process::run("clippy", clippy.args(["--", "-D", "warnings"]))
        })?;
    }
    steps.take("tests", || {
        let mut tests = cargo(&["test", "--locked"]);
        if !names_a_package(chosen) {
            tests.arg("--workspace");
        }
        tests.args(chosen);
        process::run("cargo test", with_surroundings(&mut tests, &sdks, &postgres))
    })
}

fn with_surroundings<'a>(tests: &'a mut Command, sdks: &Sdks, postgres: &Postgres) -> &'a mut Command {
    if let Some(node) = &sdks.newer_node {
        let mut path = node.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        tests.env("PATH", path);
    }
    tests
        .env("STEAD_TEST_POSTGRES", postgres.url())
        .env("STEAD_TEST_NODE_DIR", &sdks.node)
        .env("STEAD_TEST_PYTHON", &sdks.python)
        .env("STEAD_TEST_SCHEMATHESIS", &sdks.schemathesis)
}

/// Without one, a bare filter should search every crate, not only the workspace's default member.
fn names_a_package(chosen: &[String]) -> bool {
    let mut of_cargo = chosen.iter().take_while(|word| *word != "--");
    of_cargo.any(|word| word.starts_with("-p") || word.starts_with("--package") || word == "--workspace")
}

#[derive(Default)]
struct Steps(Vec<(&'static str, Duration)>);

impl Steps {
    fn take<T>(&mut self, name: &'static str, step: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        eprintln!("xtask: {name}");
        let started = Instant::now();
        let outcome = step();
        self.0.push((name, started.elapsed()));
        outcome
    }

    /// On standard error: standard output is cargo test's own.
    fn print(&self) {
        for (name, time) in &self.0 {
            eprintln!("xtask: {:>8.1} s  {name}", time.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_whether_a_package_is_chosen() {
        let chosen = |line: &str| names_a_package(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        assert!(chosen("-p stead kill"));
        assert!(chosen("--package=stead"));
        assert!(!chosen("rotate"));
        assert!(!chosen("rotate -- -p"));
    }
}
