//! The chores of this repository, started as `cargo xtask <command>`.
//!
//! [`COMMANDS`] is the list; each row's file has the command's name. What they share: [`arguments`] reads the command
//! line, [`process`] runs programs, [`tools`] and [`sdks`] install what tests need, [`comparators`] what is measured beside Stead (both with
//! [`packages`]), [`postgres`] lends a database.
#![allow(
    clippy::disallowed_methods,
    reason = "chores have neither settings nor a clock to be handed: the server's doors are not theirs"
)]

mod arguments;
mod bench;
mod chains;
mod comparators;
mod fuzz;
mod kill;
mod model;
mod openapi;
mod packages;
mod postgres;
mod power_cut;
mod process;
mod races;
mod schemathesis;
mod sdks;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use arguments::Arguments;
use process::Outcome;

struct Chore {
    name: &'static str,
    takes: &'static str,
    doc: &'static str,
    run: fn(Arguments) -> Outcome,
}

const COMMANDS: &[Chore] = &[
    Chore {
        name: "test",
        takes: "[-- <arguments of cargo test>]",
        doc: "install what tests need, then format, tidy, clippy and every test; with arguments only those tests",
        run: test::run,
    },
    Chore { name: "tidy", takes: "", doc: "the rules of the house that no compiler knows", run: tidy::run },
    Chore { name: "openapi", takes: "", doc: "write openapi.json anew from the route table", run: openapi::run },
    Chore {
        name: "kill",
        takes: "[--charges] [--cycles N] [--postgres]",
        doc: "kill -9 the server under load, N times (1000), and compare with what it acknowledged: changes, or charges",
        run: kill::run,
    },
    Chore {
        name: "fuzz",
        takes: "[--runs N]",
        doc: "N (1000000) inputs, guided by coverage, at the parsers of secrets, headers and paths",
        run: fuzz::run,
    },
    Chore {
        name: "races",
        takes: "[--count N]",
        doc: "let 64 clients race for the last credit on both stores, and for the last use and place, N times (10000)",
        run: races::run,
    },
    Chore {
        name: "schemathesis",
        takes: "[--examples N]",
        doc: "N generated cases (100) for each operation of openapi.json, right and wrong ones, against the real server",
        run: schemathesis::run,
    },
    Chore {
        name: "chains",
        takes: "[--count N] [--seed N]",
        doc: "let N (100000) random chains of calls, and N chains of the rules alone, look for more power than there was",
        run: chains::run,
    },
    Chore {
        name: "model",
        takes: "[--count N] [--seed N]",
        doc: "N (2000) random walks of 100 steps beside a model of the server, and every pair of causes, on both stores",
        run: model::run,
    },
    Chore {
        name: "power-cut",
        takes: "[--cuts N]",
        doc: "cut the power of a loop-mounted disk under the server, N times (100); Linux, as root",
        run: power_cut::run,
    },
    Chore {
        name: "bench",
        takes: "[-- <words>]",
        doc: "measure the figures of docs/benchmarks.md beside their yardsticks, in one run; with words only those",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "help".into());
    let outcome = match COMMANDS.iter().find(|chore| chore.name == name) {
        Some(chore) => (chore.run)(Arguments::new(words)),
        None if matches!(name.as_str(), "help" | "-h" | "--help") => {
            eprint!("{}", help());
            Ok(())
        }
        None => Err(format!("there is no command `{name}`\n\n{}", help())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let rows = COMMANDS.iter().map(|Chore { name, takes, doc, .. }| format!("  {name} {takes}\n      {doc}\n"));
    format!("cargo xtask <command>\n\n{}", rows.collect::<String>())
}
